import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { outcomeChecksum, signalChecksum } from "../checksum.js"
import type { StorageError } from "../StorageError.js"
import type { Lease, Outcome, Parent } from "../Store.js"
import { storedStatus } from "../sqlite/runRows.js"
import type { ClientAccess, Run } from "./access.js"

/** A run that has a parent, and the lease under which it ends; none if an operator ends it. */
interface Child {
  readonly run: string
  readonly parent: Parent
  readonly lease: Lease | undefined
}

interface LockedRow {
  readonly key: unknown
  readonly id: string
  readonly token: unknown
  readonly owner: string | null
  readonly status: string | null
  readonly signals: unknown
}

/**
 * Records the outcome of a run and the signal for its parent in one commit. Both rows
 * are locked in the order of their keys, as all that locks several runs does. False if
 * the run has ended, or the lease is not in force. `onSignalled` hears of the parent.
 */
export const makeEndChild = (access: ClientAccess, onSignalled: (run: string) => void) => {
  const { dialect, table } = access
  const runs = table("runs")
  const locked = `SELECT key, id, token, owner, status, signals FROM ${runs} WHERE id = ? OR id = ? ORDER BY key${dialect.lock("update")}`
  const end = `UPDATE ${runs} SET status = ?, exhausted = ?, exit = ?, finished_at = ?, outcome_checksum = ?,
    owner = NULL, lease_until = NULL WHERE key = ? RETURNING key`

  const tell = (run: Run, { key, signals }: LockedRow, signal: string, at: number): Effect.Effect<void, SqlError> =>
    Effect.gen(function* () {
      const sent = { key: signal, payload: "{}", at }
      const stored = yield* run(
        `INSERT INTO ${table("signals")} (run, seq, key, payload, at, checksum) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (run, key) DO NOTHING RETURNING run`,
        [key, Number(signals) + 1, signal, sent.payload, at, signalChecksum(Number(key), sent)]
      )
      if (stored.length === 0) return
      yield* run(
        `UPDATE ${runs} SET signals = signals + 1, due_at = CASE WHEN due_at > ? THEN ? ELSE due_at END WHERE key = ? RETURNING key`,
        [at, at, key]
      )
    })

  return (
    operation: string,
    { lease, parent, run: id }: Child,
    outcome: Outcome
  ): Effect.Effect<boolean, StorageError> => {
    const ended = access.transaction(
      operation,
      (run) =>
        Effect.gen(function* () {
          const rows = yield* run<LockedRow>(locked, [id, parent.run])
          const child = rows.find((row) => row.id === id)
          if (child === undefined || child.status !== null) return false
          if (lease !== undefined && (Number(child.token) !== lease.token || child.owner !== lease.owner)) return false
          yield* run(end, [
            ...storedStatus(outcome),
            ...[outcome.exit, outcome.at, outcomeChecksum(id, outcome), child.key]
          ])
          const row = rows.find((one) => one.id === parent.run)
          // A parent that has ended waits for no signal.
          if (row !== undefined && row.status === null && row.id !== id)
            yield* tell(run, row, parent.signal, outcome.at)
          return true
        }),
      // Its repetition finds the outcome.
      { idempotent: true }
    )
    return Effect.map(ended, (isEnded) => {
      if (isEnded) onSignalled(parent.run)
      return isEnded
    })
  }
}

export type EndChild = ReturnType<typeof makeEndChild>
