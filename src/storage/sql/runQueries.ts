import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { clockTolerance, isOutcomeStatus, isWaitingFor, limitOf } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import { type Backlog, type Query, type Run, type RunCount, type RunStore, untilSignalled } from "../Store.js"
import { type RunRow, runColumns, statusColumn } from "../sqlite/runRows.js"
import type { ClientAccess, Now } from "./access.js"
import { decoding } from "./errors.js"
import type { Liveness } from "./liveness.js"
import { asWhole, isOneOf, type Part, part, toNumbers, whereAll } from "./reading.js"
import type { RunReader } from "./runRows.js"

type RunQueries = Pick<RunStore, "backlog" | "countRuns" | "find" | "list">

export const makeRunQueries = (access: ClientAccess, reader: RunReader, liveness: Liveness): RunQueries => ({
  find: (id) =>
    Effect.flatMap(
      access.read<RunRow>(finding, `SELECT ${runColumns} FROM ${access.table("runs")} WHERE id = ?`, [id]),
      ([row]) => decoding(finding, () => Option.map(Option.fromNullable(row), (row) => reader.toRun(row, id)))
    ),
  list: makeList(access, reader, liveness),
  backlog: makeBacklog(access, liveness),
  countRuns: access.dialect.name === "pg" ? countAll(access) : countInWindows(access)
})

const finding = "Finding a run"

/** The lease is in force, and its process is not known to be dead. */
const makeIsLive =
  (access: ClientAccess, { process }: Liveness) =>
  (now: Now, gone: ReadonlyArray<string>): Part => {
    const dead = isOneOf(access, process, gone, "text")
    return gone.length === 0
      ? part(`(owner IS NOT NULL AND lease_until > ${now.text})`, ...now.params)
      : part(`(owner IS NOT NULL AND lease_until > ${now.text} AND NOT (${dead.text}))`, ...now.params, ...dead.params)
  }

const makeList = (access: ClientAccess, { toListed }: RunReader, liveness: Liveness): RunStore["list"] => {
  const { table } = access
  const listing = "Listing runs"
  const isLive = makeIsLive(access, liveness)

  /** `statusOf`, which the rows need not be read for. */
  const hasStatus = (status: Query["status"], now: Now, gone: ReadonlyArray<string>): ReadonlyArray<Part> => {
    if (status === undefined) return []
    if (isOutcomeStatus(status)) return [part(`${statusColumn} = ?`, status)]
    const live = isLive(now, gone)
    const isDue = part(`due_at <= ${now.text}`, ...now.params)
    // A run is due when it is claimed, so this one was claimed before the clock was set back.
    const isOfFuture = part(`due_at > ${now.text} + ${clockTolerance}`, ...now.params)
    const open = part("status IS NULL")
    if (status === "running") return [open, live, part(`NOT (${isOfFuture.text})`, ...isOfFuture.params)]
    if (status === "suspended") {
      return [open, part(`NOT ${live.text}`, ...live.params), part(`NOT (${isDue.text})`, ...isDue.params)]
    }
    return [
      open,
      part(
        `((${live.text} AND ${isOfFuture.text}) OR (NOT ${live.text} AND ${isDue.text}))`,
        ...live.params,
        ...isOfFuture.params,
        ...live.params,
        ...isDue.params
      )
    ]
  }

  const page = (conditions: ReadonlyArray<Part>, before: number | undefined, limit: number) => {
    const last = before === undefined ? [] : [part("key < ?", asWhole(before, Math.ceil))]
    const { params, text } = whereAll([...conditions, ...last])
    return Effect.map(
      access.read<RunRow>(listing, `SELECT ${runColumns} FROM ${table("runs")} ${text} ORDER BY key DESC LIMIT ?`, [
        ...params,
        limit
      ]),
      (rows) => rows.map(toListed)
    )
  }

  return (query) =>
    Effect.gen(function* () {
      const { before, status, waitsFor, workflow } = query
      const limit = limitOf(query)
      if (limit === 0) return []
      const gone = status === undefined || isOutcomeStatus(status) ? [] : yield* liveness.gone(listing)
      const conditions = [
        ...(workflow === undefined ? [] : [part("workflow = ?", workflow)]),
        ...hasStatus(status, yield* access.now, gone),
        // Only open runs wait.
        ...(waitsFor === undefined ? [] : [part("status IS NULL"), part("waiting IS NOT NULL")])
      ]
      if (waitsFor === undefined) return yield* page(conditions, before, limit)
      const found: Array<Run> = []
      let last = before
      while (found.length < limit) {
        const runs: ReadonlyArray<Run> = yield* page(conditions, last, pageSize)
        found.push(...runs.filter((run) => isWaitingFor(run, waitsFor)))
        if (runs.length < pageSize) break
        last = runs.at(-1)?.key
      }
      return found.slice(0, limit)
    })
}

/** Rows that are read in one statement to be judged here. */
const pageSize = 500

const makeBacklog = (access: ClientAccess, liveness: Liveness): RunStore["backlog"] => {
  const counting = "Counting open runs"
  const isLive = makeIsLive(access, liveness)
  const numbered = toNumbers<BacklogRow>(access, "due", "waiting", "oldest", "next")
  return Effect.gen(function* () {
    const gone = yield* liveness.gone(counting)
    const now = yield* access.now
    const live = isLive(now, gone)
    const since = access.dialect.greatest("due_at", `CASE WHEN lease_until <= ${now.text} THEN lease_until ELSE 0 END`)
    const rows = yield* access.read<BacklogRow>(
      counting,
      `SELECT workflow, version,
         COUNT(CASE WHEN due_at <= ${now.text} THEN 1 END) AS due,
         COUNT(CASE WHEN due_at > ${now.text} THEN 1 END) AS waiting,
         MIN(CASE WHEN due_at <= ${now.text} THEN ${since} END) AS oldest,
         MIN(CASE WHEN due_at > ${now.text} AND due_at < ${untilSignalled} THEN due_at END) AS "next"
       FROM ${access.table("runs")} WHERE status IS NULL AND NOT ${live.text} GROUP BY workflow, version`,
      [...now.params, ...now.params, ...now.params, ...now.params, ...now.params, ...live.params]
    )
    return rows.map((row): Backlog => {
      const { next, oldest, ...counts } = numbered(row)
      return { ...counts, oldest: oldest ?? undefined, next: next ?? undefined }
    })
  })
}

type BacklogRow = Omit<Backlog, "oldest" | "next"> & { readonly oldest: number | null; readonly next: number | null }

const counting = "Counting runs"

const countsOf = ({ table }: ClientAccess, now: Now, condition: string): Part =>
  part(
    `SELECT workflow, COUNT(*) AS runs, MIN(created_at) AS oldest, MAX(created_at) AS newest,
       CASE WHEN status IS NOT NULL THEN ${statusColumn} WHEN lease_until > ${now.text} THEN 'running'
         WHEN due_at > ${now.text} THEN 'suspended' ELSE 'stopped' END AS status
     FROM ${table("runs")} ${condition} GROUP BY 1, 5`,
    ...now.params,
    ...now.params
  )

const countAll = (access: ClientAccess): RunStore["countRuns"] =>
  Effect.flatMap(access.now, (now) => {
    const { params, text } = countsOf(access, now, "")
    const numbered = toNumbers<RunCount>(access, "runs", "oldest", "newest")
    return Effect.map(access.read<RunCount>(counting, text, params), (rows) => rows.map(numbered))
  })

const windowSize = 2_000

/** A statement of SQLite blocks the event loop, so it reads few rows at once. */
const countInWindows = (access: ClientAccess): RunStore["countRuns"] =>
  Effect.gen(function* () {
    const now = yield* access.now
    const [last] = yield* access.read<{ readonly key: number | null }>(
      counting,
      `SELECT MAX(key) AS key FROM ${access.table("runs")}`
    )
    const { params, text } = countsOf(access, now, "WHERE key > ? AND key <= ?")
    const all = new Map<string, RunCount>()
    for (let key = 0; key < (last?.key ?? 0); key += windowSize) {
      const rows = yield* access.read<RunCount>(counting, text, [...params, key, key + windowSize])
      for (const row of rows) add(all, row)
      yield* turn
    }
    return [...all.values()]
  })

/** Timers and other statements get their turn. */
const turn: Effect.Effect<void, StorageError> = Effect.async<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

const add = (all: Map<string, RunCount>, row: RunCount): void => {
  const place = JSON.stringify([row.workflow, row.status])
  const known = all.get(place)
  all.set(
    place,
    known === undefined
      ? row
      : {
          ...row,
          runs: known.runs + row.runs,
          oldest: Math.min(known.oldest, row.oldest),
          newest: Math.max(known.newest, row.newest)
        }
  )
}
