import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { mapInSlices } from "../../resilience/internal/kernel/eventLoop.js"
import { rowProblem, signalChecksum } from "../checksum.js"
import type { StorageError } from "../StorageError.js"
import type { RunStore, Signalled } from "../Store.js"
import { refuseDamaged } from "../sqlite/rows.js"
import { type RunRow, runColumns, type SignalRow } from "../sqlite/runRows.js"
import type { ClientAccess, Run } from "./access.js"
import { decoding } from "./errors.js"
import { nameOf } from "./journal.js"
import { toNumbers } from "./reading.js"
import type { RunReader } from "./runRows.js"

type SignalStore = Pick<RunStore, "signal" | "signals">

const signalling = "Signalling a run"
const reading = "Reading signals"

export const makeSqlSignals = (access: ClientAccess, reader: RunReader): SignalStore => ({
  signal: makeSignal(access, reader),
  signals: makeSignals(access)
})

/** A signal that is to be stored for an open run. */
interface Sending {
  readonly run: number
  readonly key: string
  readonly payload: string
  readonly at: number
  readonly checksum: number
}

const makeSignal = (access: ClientAccess, { toRun }: RunReader): RunStore["signal"] => {
  const { dialect, table } = access
  const insert = dialect.name === "pg" ? insertInPg(access) : insertInSqlite(access)
  const find = `FROM ${table("runs")} WHERE id = ?`
  return (id, key, payload) =>
    Effect.gen(function* () {
      const { params, text } = yield* access.now
      const [row] = yield* access.read<RunRow & { readonly now: unknown }>(
        signalling,
        `SELECT ${runColumns}, ${text} AS now ${find}`,
        [...params, id]
      )
      if (row === undefined) return "Unknown"
      const run = yield* decoding(signalling, () => toRun(row, id))
      if (run.outcome !== undefined) return "Finished"
      const at = Number(row.now)
      return yield* insert({ run: run.key, key, payload, at, checksum: signalChecksum(run.key, { key, payload, at }) })
    })
}

/** The signal and the number of signals in one statement, under a lock of the run. */
const insertInPg = ({ table, write }: ClientAccess) => {
  const runs = table("runs")
  const signals = table("signals")
  const text = `WITH found AS (
      SELECT key, status, signals FROM ${runs} WHERE key = ? FOR UPDATE
    ), sent AS (
      INSERT INTO ${signals} (run, seq, key, payload, at, checksum)
      SELECT found.key, found.signals + 1, ?::text, ?::text, ?::bigint, ?::int FROM found WHERE found.status IS NULL
      ON CONFLICT (run, key) DO NOTHING RETURNING run
    ), woken AS (
      UPDATE ${runs} SET signals = signals + 1, due_at = LEAST(due_at, ?::bigint) FROM sent WHERE key = sent.run RETURNING key
    )
    SELECT status, (SELECT COUNT(*) FROM sent) AS sent, (
      SELECT COUNT(*) FROM ${signals} AS stored
      WHERE stored.run = found.key AND stored.key = ? AND stored.payload = ? AND stored.at = ?
    ) AS mine FROM found`
  return ({ at, checksum, key, payload, run }: Sending): Effect.Effect<Signalled, StorageError> =>
    Effect.map(
      write<{ readonly status: string | null; readonly sent: unknown; readonly mine: unknown }>(
        signalling,
        text,
        [run, key, payload, at, checksum, at, key, payload, at],
        { idempotent: true }
      ),
      ([row]) => {
        if (row === undefined) return "Unknown"
        // A repetition after a broken connection finds its own signal.
        if (Number(row.sent) + Number(row.mine) > 0) return "Sent"
        return row.status === null ? "Taken" : "Finished"
      }
    )
}

const insertInSqlite = ({ table, transaction }: ClientAccess) => {
  const runs = table("runs")
  return ({ at, checksum, key, payload, run: number }: Sending): Effect.Effect<Signalled, StorageError> =>
    transaction(
      signalling,
      (run: Run): Effect.Effect<Signalled, SqlError> =>
        Effect.gen(function* () {
          const [row] = yield* run<{ readonly status: string | null; readonly signals: number }>(
            `SELECT status, signals FROM ${runs} WHERE key = ?`,
            [number]
          )
          if (row === undefined) return "Unknown"
          if (row.status !== null) return "Finished"
          const sent = yield* run(
            `INSERT INTO ${table("signals")} (run, seq, key, payload, at, checksum) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (run, key) DO NOTHING RETURNING run`,
            [number, row.signals + 1, key, payload, at, checksum]
          )
          if (sent.length === 0) return "Taken"
          yield* run(`UPDATE ${runs} SET signals = signals + 1, due_at = MIN(due_at, ?) WHERE key = ?`, [at, number])
          return "Sent"
        })
    )
}

const makeSignals = (access: ClientAccess): RunStore["signals"] => {
  const text = `SELECT key, payload, at, checksum FROM ${access.table("signals")} WHERE run = ? AND seq > ? ORDER BY seq`
  const numbered = toNumbers<SignalRow>(access, "at", "checksum")
  return (run, skip = 0) =>
    Effect.gen(function* () {
      const rows = yield* mapInSlices(yield* access.read<SignalRow>(reading, text, [run, skip]), numbered)
      for (const { checksum, at, key, payload } of rows) {
        const problem = rowProblem(checksum, [key, payload], () => signalChecksum(run, { at, key, payload }))
        if (problem === undefined) continue
        const name = yield* nameOf(access, run)
        yield* decoding(reading, () => refuseDamaged(problem, () => `signal "${key}" of run ${name}`))
      }
      return rows.map(({ at, key, payload }) => ({ key, payload, at }))
    })
}
