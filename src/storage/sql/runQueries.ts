import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { eventLoopTurn } from "../../resilience/internal/kernel/eventLoop.js"
import { type Backlog, type QueueCount, type RunCount, type RunStore, untilSignalled } from "../Store.js"
import { type RunRow, runColumns, statusColumn } from "../sqlite/runRows.js"
import type { ClientAccess, Now } from "./access.js"
import { decoding } from "./errors.js"
import type { Liveness } from "./liveness.js"
import { dueSince, isLeasedAt, type Part, part, toNumbers } from "./reading.js"
import { makeIsLive, makeList } from "./runLists.js"
import type { RunReader } from "./runRows.js"

type RunQueries = Pick<RunStore, "backlog" | "countRuns" | "find" | "list" | "queues">

export const makeRunQueries = (access: ClientAccess, reader: RunReader, liveness: Liveness): RunQueries => ({
  find: (id) =>
    Effect.flatMap(
      access.read<RunRow>(finding, `SELECT ${runColumns} FROM ${access.table("runs")} WHERE id = ?`, [id]),
      ([row]) => decoding(finding, () => Option.map(Option.fromNullable(row), (row) => reader.toRun(row, id)))
    ),
  list: makeList(access, reader, liveness),
  backlog: makeBacklog(access, liveness),
  queues: makeQueues(access, liveness),
  countRuns: access.dialect.name === "pg" ? countAll(access) : countInWindows(access)
})

const finding = "Finding a run"

const makeBacklog = (access: ClientAccess, liveness: Liveness): RunStore["backlog"] => {
  const counting = "Counting open runs"
  const isLive = makeIsLive(access, liveness)
  const numbered = toNumbers<BacklogRow>(access, "due", "waiting", "held", "oldest", "next")
  return Effect.gen(function* () {
    const gone = yield* liveness.gone(counting)
    const now = yield* access.now
    const live = isLive(now, gone)
    const since = access.dialect.greatest("due_at", `CASE WHEN lease_until <= ${now.text} THEN lease_until ELSE 0 END`)
    const rows = yield* access.read<BacklogRow>(
      counting,
      `SELECT workflow, version,
         COUNT(CASE WHEN hold_id IS NULL AND due_at <= ${now.text} THEN 1 END) AS due,
         COUNT(CASE WHEN hold_id IS NULL AND due_at > ${now.text} THEN 1 END) AS waiting,
         COUNT(hold_id) AS held,
         MIN(CASE WHEN hold_id IS NULL AND due_at <= ${now.text} THEN ${since} END) AS oldest,
         MIN(CASE WHEN hold_id IS NULL AND due_at > ${now.text} AND due_at < ${untilSignalled} THEN due_at END) AS "next"
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

const makeQueues = (access: ClientAccess, liveness: Liveness): RunStore["queues"] => {
  const operation = "Counting the runs of queues"
  const isLive = makeIsLive(access, liveness)
  const numbered = toNumbers<QueueRow>(access, "running", "due", "waiting", "oldest")
  return Effect.gen(function* () {
    const gone = yield* liveness.gone(operation)
    const now = yield* access.now
    const live = isLive(now, gone)
    const open = `SELECT queue, due_at, hold_id, cancel, ${dueSince(access)} AS since,
        CASE WHEN ${live.text} AND ${isLeasedAt(now.text)} THEN 1 ELSE 0 END AS running, ${now.text} AS now
      FROM ${access.table("runs")} WHERE status IS NULL AND queue IS NOT NULL`
    const rows = yield* access.read<QueueRow>(
      operation,
      `SELECT queue, SUM(running) AS running,
         COUNT(CASE WHEN running = 0 AND due_at <= now THEN 1 END) AS due,
         COUNT(CASE WHEN running = 0 AND due_at > now THEN 1 END) AS waiting,
         MIN(CASE WHEN running = 0 AND due_at <= now THEN since END) AS oldest
       FROM (${open}) AS counted WHERE running = 1 OR (hold_id IS NULL AND cancel IS NULL) GROUP BY queue`,
      [...live.params, ...now.params, ...now.params, ...now.params]
    )
    return rows.map((row): QueueCount => {
      const { oldest, ...counts } = numbered(row)
      return { ...counts, oldest: oldest ?? undefined }
    })
  })
}

type QueueRow = Omit<QueueCount, "oldest"> & { readonly oldest: number | null }

const counting = "Counting runs"

const countsOf = ({ table }: ClientAccess, now: Now, condition: string): Part =>
  part(
    `SELECT workflow, COUNT(*) AS runs, MIN(created_at) AS oldest, MAX(created_at) AS newest,
       CASE WHEN status IS NOT NULL THEN ${statusColumn} WHEN lease_until > ${now.text} THEN 'running'
         WHEN hold_id IS NOT NULL THEN 'held' WHEN due_at > ${now.text} THEN 'suspended' ELSE 'stopped' END AS status
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
      yield* eventLoopTurn
    }
    return [...all.values()]
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
