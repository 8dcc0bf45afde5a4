import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { mapInSlices } from "../../resilience/internal/kernel/eventLoop.js"
import { entryProblem } from "../checksum.js"
import type { StorageError } from "../StorageError.js"
import type { Entry, RunStore } from "../Store.js"
import { refuseDamaged } from "../sqlite/rows.js"
import { type EntryRow, lineOf, lineProblem } from "../sqlite/runRows.js"
import type { ClientAccess } from "./access.js"
import { decoding } from "./errors.js"
import { appending, insertLines } from "./lines.js"
import { type Appends, makePgAppends } from "./pgAppends.js"
import { toNumbers } from "./reading.js"

const entryColumns = `seq, kind, step, attempt, at, checksum, payload_checksum AS "payloadChecksum", previous`

type JournalStore = Pick<RunStore, "journal" | "payload" | "rewind"> & Appends

export const makeSqlJournal = (access: ClientAccess): Effect.Effect<JournalStore, never, Scope.Scope> =>
  Effect.map(
    access.dialect.name === "pg" ? makePgAppends(access) : Effect.succeed(oneByOne(access)),
    (appends): JournalStore => ({ ...appends, ...reads(access), rewind: rewind(access) })
  )

/** The writes of SQLite share a commit by themselves. */
const oneByOne = (access: ClientAccess): Appends => {
  const insert = insertLines(access)
  return {
    append: (lease, entries) => access.transaction(appending, (run) => insert(run, lease, entries)),
    forget: () => {}
  }
}

const rewind = (access: ClientAccess): RunStore["rewind"] => {
  const { table } = access
  const insert = insertLines(access)
  const mark = `UPDATE ${table("snapshots")} SET rewound = 1, checksum = -1 - checksum
    WHERE run = ? AND seq > ? AND substr(step, 1, length(CAST(? AS TEXT))) = CAST(? AS TEXT) AND rewound = 0`
  return (lease, entry, { after, within }) =>
    access.transaction("Rewinding a run", (run) =>
      Effect.zipRight(insert(run, lease, [entry]), Effect.asVoid(run(mark, [lease.run, after, within, within])))
    )
}

const reads = (access: ClientAccess): Pick<JournalStore, "journal" | "payload"> => {
  const { table } = access
  const numbered = toNumbers<EntryRow>(
    access,
    "seq",
    "attempt",
    "at",
    "omitted",
    "checksum",
    "payloadChecksum",
    "previous"
  )
  const whole = `SELECT ${entryColumns}, payload, 0 AS omitted FROM ${table("journal")} WHERE run = ?`
  // The checksum of a line covers a payload that has none of its own, so that is read with it.
  const short = `SELECT ${entryColumns}, CASE WHEN omitted = 1 THEN NULL ELSE payload END AS payload, omitted FROM (
      SELECT *, CASE WHEN LENGTH(payload) > ? AND (payload_checksum IS NOT NULL OR checksum IS NULL) THEN 1 ELSE 0 END AS omitted
      FROM ${table("journal")} WHERE run = ?
    ) AS lines ORDER BY seq`

  /** The id of the run is only read for the message. */
  const refusing = (key: number, problem: { readonly row: EntryRow; readonly text: string } | undefined) =>
    problem === undefined
      ? Effect.void
      : Effect.flatMap(nameOf(access, key), (name) =>
          decoding(reading, () => refuseDamaged(problem.text, () => `${lineOf(problem.row)} of run ${name}`))
        )

  return {
    journal: (key, longest = Number.POSITIVE_INFINITY) =>
      Effect.gen(function* () {
        const isShort = Number.isFinite(longest)
        const stored = yield* isShort
          ? access.read<EntryRow>(reading, short, [Math.floor(longest), key])
          : access.read<EntryRow>(reading, `${whole} ORDER BY seq`, [key])
        const rows = yield* mapInSlices(stored, numbered)
        const problems = yield* mapInSlices(rows, (row, i) => problemOf(key, rows, row, i))
        yield* refusing(
          key,
          problems.find((problem) => problem !== undefined)
        )
        return rows.map((row) => toEntry(row, longest))
      }),
    payload: (key, seq) =>
      Effect.gen(function* () {
        const [row] = (yield* access.read<EntryRow>(reading, `${whole} AND seq = ?`, [key, seq])).map(numbered)
        if (row === undefined) return undefined
        const text = entryProblem(key, row, row)
        yield* refusing(key, text === undefined ? undefined : { row, text })
        return row.payload ?? undefined
      })
  }
}

const reading = "Reading a journal"

/** Of a line that is not what was written, or whose predecessor is missing. */
const problemOf = (key: number, rows: ReadonlyArray<EntryRow>, row: EntryRow, i: number) => {
  const text = lineProblem(key, row, rows[i - 1]?.seq ?? null, rows)
  return text === undefined ? undefined : { row, text }
}

const toEntry = ({ at, attempt, kind, omitted, payload, seq, step }: EntryRow, longest: number): Entry => {
  const entry = { seq, kind, step, attempt, at }
  return omitted === 1 || (payload !== null && payload.length > longest)
    ? { ...entry, payload: undefined, omitted: true }
    : { ...entry, payload: payload ?? undefined }
}

/** The id of a run, for messages. */
export const nameOf = ({ read, table }: ClientAccess, key: number): Effect.Effect<string, StorageError> =>
  Effect.map(
    read<{ readonly id: string }>("Finding a run", `SELECT id FROM ${table("runs")} WHERE key = ?`, [key]),
    ([row]) => (row === undefined ? `number ${key}` : `"${row.id}"`)
  )
