import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { outcomeChecksum, signalChecksum } from "../checksum.js"
import { leaseLost } from "../rows.js"
import type { LeaseLost, StorageError } from "../StorageError.js"
import type { Cancelling, Control, Enqueued, EnqueueRequest, Lease, Run, RunStore } from "../Store.js"
import { checksumOfRow, type RunRow, runColumns, storedStatus } from "../sqlite/runRows.js"
import type { ClientAccess, Run as RunStatement } from "./access.js"
import type { EndChild } from "./endings.js"
import { decoding } from "./errors.js"
import { insertLines } from "./lines.js"
import { isOneOf } from "./reading.js"
import { makeRunReader, type RunReader, toRunNumbers } from "./runRows.js"
import type { ToInsert } from "./runWrites.js"

/** A row that other callers change all the time is reported as they left it. */
const mostAttempts = 20

type Failing<A> = Effect.Effect<A, StorageError>

/** Finds a run, or fails if its row is damaged. */
const finder =
  (access: ClientAccess, { toRun }: RunReader) =>
  (operation: string, id: string): Failing<Run | undefined> =>
    Effect.flatMap(
      access.read<RunRow>(operation, `SELECT ${runColumns} FROM ${access.table("runs")} WHERE id = ?`, [id]),
      ([row]) => decoding(operation, () => (row === undefined ? undefined : toRun(row, id)))
    )

type Insert = (wanted: ToInsert) => Failing<Run | undefined>

const enqueuing = "Recording a run"

export const makeEnqueue = (access: ClientAccess, reader: RunReader, insert: Insert): RunStore["enqueue"] => {
  const { dialect, table } = access
  const find = finder(access, reader)
  const numbered = toRunNumbers(access)

  /** Only if the row is as it was read: its checksum covers what is replaced. */
  const replace = ({ delay = 0, id, input, version, workflow }: EnqueueRequest): Failing<Run | undefined> =>
    access.transaction(
      enqueuing,
      (run) =>
        Effect.gen(function* () {
          const [row] = yield* run<RunRow>(
            `SELECT ${runColumns} FROM ${table("runs")} WHERE id = ? AND token = 0 AND status IS NULL AND hold_id IS NULL AND cancel IS NULL
               AND workflow = ? AND version = ?${dialect.lock("update")}`,
            [id, workflow, version]
          )
          if (row === undefined) return undefined
          const known = numbered(row)
          // A damaged row stays as it is, or its new checksum would hide the damage.
          if (reader.toListed(row).damaged !== undefined) return undefined
          const { params, text } = yield* access.now
          const [changed] = yield* run<RunRow>(
            `UPDATE ${table("runs")} SET input = ?, checksum = ?, due_at = ${text} + ? WHERE key = ? RETURNING ${runColumns}`,
            [input, checksumOfRow(known, { input }), ...params, Math.ceil(delay), known.key]
          )
          return changed === undefined ? undefined : reader.toListed(changed)
        }),
      { idempotent: true }
    )

  const existing = (request: EnqueueRequest, attempt: number): Failing<Enqueued> =>
    Effect.gen(function* () {
      const replaced = request.debounce === true ? yield* replace(request) : undefined
      if (replaced !== undefined) return { _tag: "Replaced", run: replaced }
      const found = yield* find(enqueuing, request.id)
      if (found !== undefined) return { _tag: "Existing", run: found }
      // It was removed between the two.
      return yield* enqueue(request, attempt + 1)
    })

  const enqueue = (request: EnqueueRequest, attempt: number): Failing<Enqueued> =>
    Effect.gen(function* () {
      const now = yield* access.now
      const createdAt = yield* access.time
      const run = yield* insert({ request, lease: undefined, now, createdAt })
      if (run !== undefined) return { _tag: "Created", run }
      return yield* existing(request, attempt)
    })

  return (request) => enqueue(request, 0)
}

type Controls = Pick<
  RunStore,
  "hold" | "releaseHold" | "cancel" | "terminate" | "controls" | "continueAs" | "adopt" | "queues"
>

/** What operators and the program do to a run beside its steps. */
export const makeControls = (
  access: ClientAccess,
  reader: RunReader,
  endChild: EndChild
): Omit<Controls, "queues"> => ({
  ...makeHolds(access, reader),
  ...makeEndings(access, reader, endChild),
  controls: makeFindControls(access),
  continueAs: makeContinueAs(access),
  adopt: (lease, version) =>
    access.transaction(
      "Changing the version of a run",
      (run) =>
        Effect.gen(function* () {
          const row = yield* fenced(access, run, lease)
          yield* run(`UPDATE ${access.table("runs")} SET version = ?, checksum = ? WHERE key = ? RETURNING key`, [
            version,
            checksumOfRow(row, { version }),
            row.key
          ])
        }),
      { idempotent: true }
    )
})

const makeHolds = (access: ClientAccess, reader: RunReader): Pick<Controls, "hold" | "releaseHold"> => {
  const runs = access.table("runs")
  const find = finder(access, reader)
  const holding = "Holding a run"

  const hold = (
    id: string,
    wanted: Parameters<RunStore["hold"]>[1],
    from: string | undefined,
    attempt: number
  ): ReturnType<RunStore["hold"]> =>
    Effect.gen(function* () {
      const { params, text } = yield* access.now
      const [row] = yield* access.write<RunRow>(
        holding,
        `UPDATE ${runs} SET hold_id = ?, hold_reason = ?, hold_at = ${text}
         WHERE id = ? AND (hold_id IS NULL OR (hold_id = ? AND hold_id <> ?)) RETURNING ${runColumns}`,
        [wanted.id, wanted.reason, ...params, id, from ?? null, wanted.id],
        { idempotent: true }
      )
      if (row !== undefined) return { _tag: "Held", run: yield* decoding(holding, () => reader.toRun(row, id)) }
      const found = yield* find(holding, id)
      if (found === undefined) return { _tag: "Unknown" }
      if (found.hold?.id === wanted.id) return { _tag: "Held", run: found }
      // The other hold was released, or replaced by the one that this may replace, between the two.
      const mayHold = found.hold === undefined || found.hold.id === from
      return mayHold && attempt < mostAttempts
        ? yield* hold(id, wanted, from, attempt + 1)
        : { _tag: "Other", run: found }
    })

  return {
    hold: (run, wanted, from) => hold(run, wanted, from, 0),
    releaseHold: (run, id) =>
      Effect.map(
        access.write(
          "Releasing a run",
          `UPDATE ${runs} SET hold_id = NULL, hold_reason = NULL, hold_at = NULL WHERE id = ? AND hold_id = ? RETURNING key`,
          [run, id]
        ),
        ({ length }) => length === 1
      )
  }
}

const makeEndings = (
  access: ClientAccess,
  reader: RunReader,
  endChild: EndChild
): Pick<Controls, "cancel" | "terminate"> => {
  const { dialect, table } = access
  const runs = table("runs")
  const find = finder(access, reader)
  const [cancelling, terminating] = ["Cancelling a run", "Terminating a run"]
  return {
    cancel: (id, request) =>
      Effect.gen(function* () {
        const { params, text } = yield* access.now
        const due = `due_at = ${dialect.least("due_at", text)} WHERE id = ? AND status IS NULL`
        const requested = yield* access.write(
          cancelling,
          `UPDATE ${runs} SET cancel = ?, ${due} AND cancel IS NULL RETURNING key`,
          [request, ...params, id],
          { idempotent: true }
        )
        if (requested.length === 1) return "Requested"
        const found = yield* find(cancelling, id)
        if (found === undefined) return "Unknown"
        if (found.outcome === undefined) {
          const later = `UPDATE ${runs} SET ${due} AND due_at > ${text}`
          yield* access.write(cancelling, later, [...params, id, ...params], { idempotent: true })
        }
        return endedOrTaken(found)
      }),
    terminate: (id, given) =>
      Effect.gen(function* () {
        const found = yield* find(terminating, id)
        if (found === undefined) return Option.none()
        if (found.outcome !== undefined) return Option.some(found.outcome)
        const outcome = { ...given, at: yield* access.time }
        const { parent } = found
        const isEnded =
          parent === undefined
            ? yield* end(access, id, outcome)
            : yield* endChild(terminating, { run: id, parent, lease: undefined }, outcome)
        if (isEnded) return Option.some(outcome)
        const other = yield* find(terminating, id)
        return Option.fromNullable(other?.outcome)
      })
  }
}

const endedOrTaken = ({ outcome }: Run): Cancelling => (outcome === undefined ? "Taken" : "Finished")

const end = (access: ClientAccess, id: string, outcome: NonNullable<Run["outcome"]>): Failing<boolean> =>
  Effect.map(
    access.write(
      "Terminating a run",
      `UPDATE ${access.table("runs")} SET status = ?, exhausted = ?, exit = ?, finished_at = ?, outcome_checksum = ?,
         owner = NULL, lease_until = NULL WHERE id = ? AND status IS NULL RETURNING key`,
      [...storedStatus(outcome), outcome.exit, outcome.at, outcomeChecksum(id, outcome), id],
      { idempotent: true }
    ),
    ({ length }) => length === 1
  )

const makeFindControls = (access: ClientAccess): RunStore["controls"] => {
  const reader = makeRunReader(access, () => false)
  return (leases) =>
    Effect.gen(function* () {
      if (leases.length === 0) return []
      const given = isOneOf(
        access,
        "key",
        leases.map(({ key }) => key),
        "number"
      )
      const rows = yield* access.read<RunRow>(
        "Looking for requests of operators",
        `SELECT ${runColumns} FROM ${access.table("runs")}
         WHERE ${given.text} AND status IS NULL AND (hold_id IS NOT NULL OR cancel IS NOT NULL)`,
        given.params
      )
      const byKey = new Map(rows.map((row) => [Number(row.key), row]))
      return leases.flatMap((lease): ReadonlyArray<Control> => {
        const row = byKey.get(lease.key)
        if (row === undefined || row.owner !== lease.owner || Number(row.token) !== lease.token) return []
        const { cancel, hold } = reader.toListed(row)
        return [{ lease, hold, cancel }]
      })
    })
}

/** The row of a run whose lease is in force, locked until the commit. */
const fenced = (
  { dialect, table }: ClientAccess,
  run: RunStatement,
  lease: Lease
): Effect.Effect<RunRow, SqlError | LeaseLost> =>
  Effect.flatMap(
    run<RunRow>(
      `SELECT ${runColumns} FROM ${table("runs")} WHERE key = ? AND token = ? AND owner = ?${dialect.lock("update")}`,
      [lease.key, lease.token, lease.owner]
    ),
    ([row]) => (row === undefined ? leaseLost(lease) : Effect.succeed(toRunNumbers({ dialect, table })(row)))
  )

interface SignalRow {
  readonly key: string
  readonly payload: string
  readonly at: unknown
}

/** The signals that stay get new positions, so they are written again: readers skip by position. */
const makeContinueAs = (access: ClientAccess): RunStore["continueAs"] => {
  const { table } = access
  const insert = insertLines(access)
  const [runs, signals] = [table("runs"), table("signals")]
  return (lease, { entry, input, read }) =>
    access.transaction("Continuing a run with a new journal", (run) =>
      Effect.gen(function* () {
        const row = yield* fenced(access, run, lease)
        yield* run(`DELETE FROM ${table("journal")} WHERE run = ?`, [lease.key])
        yield* insert(run, lease, [entry])
        const stored = yield* run<SignalRow>(`SELECT key, payload, at FROM ${signals} WHERE run = ? ORDER BY seq`, [
          lease.key
        ])
        const removed = new Set(read)
        const kept = stored.filter(({ key }) => !removed.has(key))
        if (kept.length < stored.length) {
          yield* run(`DELETE FROM ${signals} WHERE run = ?`, [lease.key])
          for (const [i, signal] of kept.entries()) {
            const at = Number(signal.at)
            yield* run(`INSERT INTO ${signals} (run, seq, key, payload, at, checksum) VALUES (?, ?, ?, ?, ?, ?)`, [
              ...[lease.key, i + 1, signal.key, signal.payload, at],
              signalChecksum(lease.key, { key: signal.key, payload: signal.payload, at })
            ])
          }
        }
        yield* run(
          `UPDATE ${runs} SET input = ?, checksum = ?, generation = generation + 1, signals = ? WHERE key = ? RETURNING key`,
          [input, checksumOfRow(row, { input }), kept.length, lease.key]
        )
        return row.generation + 1
      })
    )
}
