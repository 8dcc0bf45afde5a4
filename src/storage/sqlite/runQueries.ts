import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { eventLoopTurn, sliceMillis } from "../../resilience/internal/kernel/eventLoop.js"
import { isListed, isOutcomeStatus, isWaitingFor, limitOf, statusOf } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import * as Store from "../Store.js"
import { makeClaims } from "./claims.js"
import type { Database } from "./driver.js"
import { type ListStatements, prepareListStatements } from "./listStatements.js"
import type { RunRow } from "./runRows.js"
import type { RunTable } from "./runTable.js"
import type { Access } from "./SqliteStore.js"

type Failing<A> = Effect.Effect<A, StorageError>

/** Rows in one job, so that other work gets the event loop: many small ones, or few that are read as a whole. */
const [windowSize, keysSize, rowsSize] = [500, 1_000, 100]

/** Claims and lists runs. No operation reads thousands of rows at once. */
export const makeRunQueries = (database: Database, table: RunTable, access: Access) => {
  const sql = prepareListStatements(database)
  return {
    ...makeClaims(database, table, access),
    ...lists(table, sql, access),
    backlog: access.read("Counting open runs", (now) =>
      (sql.backlog.all({ now, untilSignalled: Store.untilSignalled }) as ReadonlyArray<BacklogRow>).map((row) => ({
        ...row,
        oldest: row.oldest ?? undefined,
        next: row.next ?? undefined
      }))
    ),
    find: (id) => access.read("Finding a run", () => Option.fromNullable(table.find(id))),
    countRuns: countRuns(sql, access)
  } satisfies Partial<Store.RunStore>
}

type BacklogRow = Omit<Store.Backlog, "oldest" | "next"> & {
  readonly oldest: number | null
  readonly next: number | null
}

// ---- lists

const lists = (table: RunTable, sql: ListStatements, access: Access) => {
  /** In windows of keys, since the runs that are wanted may be few of many. */
  const listAll = (
    query: Store.Query,
    before: number,
    limit: number,
    found: Array<Store.Run> = []
  ): Failing<ReadonlyArray<Store.Run>> => {
    const page = access.read("Listing runs", () => {
      const from = isFiltered(query) ? windowBefore(sql, before) : undefined
      const wanted = { ...valuesOf(query), from: from ?? Number.MIN_SAFE_INTEGER }
      const most = Math.min(windowSize, limit - found.length)
      const rows = slicesInTime(before, most, (before, limit) => {
        const slice = sql.list.all({ ...wanted, before, limit }) as ReadonlyArray<RunRow>
        return slice.map(table.toListed)
      })
      return { from: rows.isAll ? from : rows.read.at(-1)?.key, runs: rows.read }
    })
    return Effect.flatMap(page, ({ from, runs }) => {
      for (const run of runs) found.push(run)
      return from === undefined || found.length >= limit
        ? Effect.succeed(found)
        : Effect.zipRight(eventLoopTurn, listAll(query, from, limit, found))
    })
  }

  /** Keys in descending order, all that are wanted among them: by the index that leads to the fewest. */
  const keysOf = (query: Store.Query, before: number) =>
    access.read("Listing runs", (now) => {
      const { parent, status, version, waitsFor, workflow } = query
      const [label] = Object.entries(query.labels ?? {})
      const toKeys = (rows: ReadonlyArray<unknown>) =>
        (rows as ReadonlyArray<{ readonly key: number }>).map(({ key }) => key)
      if (parent !== undefined) return toKeys(sql.listChildren.all(parent, before, keysSize))
      if (label !== undefined) return toKeys(sql.listLabelled.all(...label, before, keysSize))
      // A run of a dead process is never running: `matching` sorts it out.
      const gone = status === "running" ? "[]" : JSON.stringify(table.gone(now))
      const isWaiting = waitsFor === undefined ? 0 : 1
      const wanted = { status: status ?? null, workflow: workflow ?? null, version: version ?? null, isWaiting }
      return toKeys(sql.listOpen.all({ ...wanted, before, now, gone, limit: keysSize }))
    })

  /** The status of an open run depends on its lease and on whether its process is dead, so it is computed for each row. */
  const matching = (keys: ReadonlyArray<number>, query: Store.Query) =>
    access.read("Listing runs", (now) => {
      const { isAll, used } = useInTime(keys, (key): Store.Run | undefined => {
        const row = table.sql.findRunByKey.get(key) as RunRow | undefined
        if (row === undefined) return undefined
        const run = table.toRun(row)
        return isListed(run, query) && hasState(run, query, now) ? table.toListed(row) : undefined
      })
      return { runs: used.filter((run) => run !== undefined), next: isAll ? keys.length : used.length }
    })

  const listByKeys = (query: Store.Query, before: number, limit: number): Failing<ReadonlyArray<Store.Run>> =>
    Effect.gen(function* () {
      const found: Array<Store.Run> = []
      for (let last = before; ; ) {
        const keys = yield* keysOf(query, last)
        for (let i = 0; i < keys.length && found.length < limit; ) {
          if (i > 0) yield* eventLoopTurn
          const { next, runs } = yield* matching(keys.slice(i, i + rowsSize), query)
          found.push(...runs)
          i += next
        }
        const next = keys.at(-1)
        if (next === undefined || keys.length < keysSize || found.length >= limit) return found.slice(0, limit)
        last = next
        yield* eventLoopTurn
      }
    })

  return {
    list: (query) => {
      const { before = Number.MAX_SAFE_INTEGER, labels = {}, parent, status, waitsFor } = query
      const limit = limitOf(query)
      if (limit === 0) return Effect.succeed([])
      const isByIndex = parent !== undefined || Object.keys(labels).length > 0
      // Only open runs wait.
      const isOpen = waitsFor !== undefined || (status !== undefined && !isOutcomeStatus(status))
      return isByIndex || isOpen ? listByKeys(query, before, limit) : listAll(query, before, limit)
    }
  } satisfies Partial<Store.RunStore>
}

/** Uses rows until all are used, or until the slice of a turn is over: their size is not known. */
const useInTime = <A, B>(
  rows: ReadonlyArray<A>,
  use: (row: A) => B
): { readonly used: ReadonlyArray<B>; readonly isAll: boolean } => {
  const until = performance.now() + sliceMillis
  const used: Array<B> = []
  for (const row of rows) {
    used.push(use(row))
    if (performance.now() >= until) return { used, isAll: used.length === rows.length }
  }
  return { used, isAll: true }
}

/** Rows that are read in the first statement of a turn: few, since their size is not known. */
const firstSlice = 8

/**
 * Reads rows in slices until there are no more, until there are `most`, or until the slice of a turn is over. A
 * statement reads twice as many as the one before it: rows that are stepped through one by one cost a third more.
 */
const slicesInTime = (
  before: number,
  most: number,
  slice: (before: number, limit: number) => ReadonlyArray<Store.Run>
): { readonly read: ReadonlyArray<Store.Run>; readonly isAll: boolean } => {
  const until = performance.now() + sliceMillis
  const read: Array<Store.Run> = []
  for (let size = firstSlice; ; size *= 2) {
    const limit = Math.min(size, most - read.length)
    const rows = slice(read.at(-1)?.key ?? before, limit)
    for (const row of rows) read.push(row)
    if (rows.length < limit) return { read, isAll: true }
    if (read.length >= most || performance.now() >= until) return { read, isAll: false }
  }
}

const isFiltered = ({ createdBefore, createdSince, queue, status, version, workflow }: Store.Query): boolean =>
  [createdBefore, createdSince, queue, status, version, workflow].some((wanted) => wanted !== undefined)

/** The parameters of the statement that filters all runs. */
const valuesOf = ({ createdBefore, createdSince, queue, status, version, workflow }: Store.Query) => ({
  workflow: workflow ?? null,
  status: status ?? null,
  version: version ?? null,
  queue: queue ?? null,
  since: createdSince ?? Number.MIN_SAFE_INTEGER,
  until: createdBefore ?? Number.MAX_SAFE_INTEGER
})

/** Whether the run has the status that is wanted, and waits for what is wanted. Only open runs wait. */
const hasState = (run: Store.Run, { status, waitsFor }: Store.Query, now: number): boolean =>
  (status === undefined || statusOf(run, now) === status) &&
  (waitsFor === undefined || (run.outcome === undefined && isWaitingFor(run, waitsFor)))

/** Where the window of keys before this one begins; `undefined` if it is the last. */
const windowBefore = (sql: ListStatements, before: number): number | undefined => {
  const row = sql.keyBefore.get(before, windowSize - 1) as { readonly key: number } | undefined
  return row?.key
}

// ---- counts

const countRuns = (sql: ListStatements, access: Access): Failing<ReadonlyArray<Store.RunCount>> => {
  const from = (before: number, counted: ReadonlyArray<Store.RunCount>): Failing<ReadonlyArray<Store.RunCount>> => {
    const page = access.read("Counting runs", (now) => {
      const from = windowBefore(sql, before)
      const window = { now, from: from ?? Number.MIN_SAFE_INTEGER, before }
      return { from, counts: sql.countRuns.all(window) as ReadonlyArray<Store.RunCount> }
    })
    return Effect.flatMap(page, ({ counts, from: next }) => {
      const all = merged([...counted, ...counts])
      return next === undefined ? Effect.succeed(all) : Effect.zipRight(eventLoopTurn, from(next, all))
    })
  }
  return from(Number.MAX_SAFE_INTEGER, [])
}

/** One count for each workflow and status. */
const merged = (counts: ReadonlyArray<Store.RunCount>): ReadonlyArray<Store.RunCount> => {
  const all = new Map<string, Store.RunCount>()
  for (const one of counts) {
    const place = JSON.stringify([one.workflow, one.status])
    const known = all.get(place) ?? { ...one, runs: 0 }
    all.set(place, {
      ...known,
      runs: known.runs + one.runs,
      oldest: Math.min(known.oldest, one.oldest),
      newest: Math.max(known.newest, one.newest)
    })
  }
  return [...all.values()]
}
