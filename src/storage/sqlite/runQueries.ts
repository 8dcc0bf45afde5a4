import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { claimedDue, claimedRun, dueSince, isOutcomeStatus, isWaitingFor, limitOf, statusOf } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import * as Store from "../Store.js"
import { marked } from "./rows.js"
import { type RunRow, runProblem } from "./runRows.js"
import type { RunTable } from "./runTable.js"
import type { Access } from "./SqliteStore.js"

type Failing<A> = Effect.Effect<A, StorageError>

/** Rows in one job, so that other work gets the event loop: many small ones, or few that are read as a whole. */
const [windowSize, keysSize, rowsSize] = [500, 1_000, 100]

/** Timers and other requests get their turn. */
const turn = Effect.async<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** Claims and lists runs. No operation reads thousands of rows at once. */
export const makeRunQueries = (table: RunTable, access: Access) => {
  const { sql } = table
  return {
    ...claims(table, access),
    ...lists(table, access),
    backlog: access.read("Counting open runs", (now) =>
      (sql.backlog.all({ now, untilSignalled: Store.untilSignalled }) as ReadonlyArray<BacklogRow>).map((row) => ({
        ...row,
        oldest: row.oldest ?? undefined,
        next: row.next ?? undefined
      }))
    ),
    find: (id) => access.read("Finding a run", () => Option.fromNullable(table.find(id))),
    countRuns: countRuns(table, access)
  } satisfies Partial<Store.RunStore>
}

type BacklogRow = Omit<Store.Backlog, "oldest" | "next"> & {
  readonly oldest: number | null
  readonly next: number | null
}

// ---- claims

interface Due {
  readonly key: number
  readonly since: number
}

const claims = (table: RunTable, access: Access) => {
  const { sql } = table

  /** Those that have been due longest, whatever their workflow. */
  const due = ({ except = [], limit, workflows }: Store.DueQuery, now: number): ReadonlyArray<number> => {
    const excluded = new Set(except.flatMap((id) => keyOf(table, id)))
    const most = limitOf({ limit })
    return workflows
      .flatMap(
        ({ version, workflow }) => sql.due.all(workflow, version, now, most + excluded.size) as ReadonlyArray<Due>
      )
      .filter(({ key }) => !excluded.has(key))
      .sort((a, b) => a.since - b.since || a.key - b.key)
      .slice(0, most)
      .map(({ key }) => key)
  }

  const claim = (key: number, owner: string, leaseUntil: number, now: number): ReadonlyArray<Store.DueRun> => {
    const row = sql.findRunByKey.get(key) as RunRow | undefined
    if (row === undefined) return []
    const found = table.toRun(row)
    const isDue = found.outcome === undefined && dueSince(found) <= now
    const problem = runProblem(row) ?? (isDue ? undefined : "the index leads to another row")
    if (problem !== undefined) return [{ _tag: "Damaged", run: marked(found, problem) }]
    const run = claimedRun(found, owner, leaseUntil, now)
    sql.claimRun.run(run.token, owner, leaseUntil, run.dueAt, key)
    return [claimedDue(run, owner)]
  }

  /** A write keeps other processes from writing, so a claim begins one only if there is something to write. */
  const claimDue: Store.Store["claimDue"] = (query, owner, leaseMillis) =>
    Effect.flatMap(
      access.read("Finding due runs", (now) => ({ gone: table.gone(), isDue: due(query, now).length > 0 })),
      ({ gone, isDue }) => {
        if (!isDue && gone.length === 0) return Effect.succeed([])
        const claimAll = access.write(
          "Claiming due runs",
          (now) => {
            if (gone.length > 0) sql.releaseGone.run(JSON.stringify(gone))
            return due(query, now).flatMap((key) => claim(key, owner, now + leaseMillis, now))
          },
          table.first
        )
        return Effect.tap(claimAll, (found) => {
          for (const one of found) if (one._tag === "Claimed") table.hold(one.lease)
        })
      }
    )

  return { claimDue }
}

const keyOf = ({ sql }: RunTable, id: string): ReadonlyArray<number> => {
  const row = sql.keyOf.get(id) as { readonly key: number } | undefined
  return row === undefined ? [] : [row.key]
}

// ---- lists

const lists = (table: RunTable, access: Access) => {
  const { sql } = table

  /** In windows of keys, since the runs that are wanted may be few of many. */
  const listAll = (
    query: Store.Query,
    before: number,
    limit: number,
    found: ReadonlyArray<Store.Run> = []
  ): Failing<ReadonlyArray<Store.Run>> => {
    const { status, workflow } = query
    const page = access.read("Listing runs", () => {
      const from = status === undefined && workflow === undefined ? undefined : windowBefore(table, before)
      const wanted = { status: status ?? null, workflow: workflow ?? null, limit: limit - found.length }
      const rows = sql.list.all({ ...wanted, from: from ?? Number.MIN_SAFE_INTEGER, before })
      return { from, runs: (rows as ReadonlyArray<RunRow>).map(table.toListed) }
    })
    return Effect.flatMap(page, ({ from, runs }) => {
      const all = found.length === 0 ? runs : [...found, ...runs]
      return from === undefined || all.length >= limit
        ? Effect.succeed(all)
        : Effect.zipRight(turn, listAll(query, from, limit, all))
    })
  }

  const keysOf = ({ status, waitsFor, workflow }: Store.Query, before: number) =>
    access.read("Listing runs", (now) => {
      // A run of a dead process is never running: `matching` sorts it out.
      const gone = status === "running" ? "[]" : JSON.stringify(table.gone())
      const isWaiting = waitsFor === undefined ? 0 : 1
      const wanted = { status: status ?? null, workflow: workflow ?? null, isWaiting }
      const rows = sql.listOpen.all({ ...wanted, before, now, gone, limit: keysSize })
      return (rows as ReadonlyArray<{ readonly key: number }>).map(({ key }) => key)
    })

  /** The status of an open run depends on its lease and on whether its process is dead, so it is computed for each row. */
  const matching = (keys: ReadonlyArray<number>, { status, waitsFor }: Store.Query) =>
    access.read("Listing runs", (now) =>
      keys.flatMap((key) => {
        const row = sql.findRunByKey.get(key) as RunRow | undefined
        if (row === undefined) return []
        const run = table.toRun(row)
        const isWanted =
          run.outcome === undefined &&
          (status === undefined || statusOf(run, now) === status) &&
          (waitsFor === undefined || isWaitingFor(run, waitsFor))
        return isWanted ? [table.toListed(row)] : []
      })
    )

  const listOpen = (query: Store.Query, before: number, limit: number): Failing<ReadonlyArray<Store.Run>> =>
    Effect.gen(function* () {
      const found: Array<Store.Run> = []
      for (let last = before; ; ) {
        const keys = yield* keysOf(query, last)
        for (let i = 0; i < keys.length && found.length < limit; i += rowsSize) {
          if (i > 0) yield* turn
          found.push(...(yield* matching(keys.slice(i, i + rowsSize), query)))
        }
        const next = keys.at(-1)
        if (next === undefined || keys.length < keysSize || found.length >= limit) return found.slice(0, limit)
        last = next
        yield* turn
      }
    })

  return {
    list: (query) => {
      const { before = Number.MAX_SAFE_INTEGER, status, waitsFor } = query
      const limit = limitOf(query)
      if (limit === 0) return Effect.succeed([])
      // Only open runs wait.
      return waitsFor === undefined && (status === undefined || isOutcomeStatus(status))
        ? listAll(query, before, limit)
        : listOpen(query, before, limit)
    }
  } satisfies Partial<Store.RunStore>
}

/** Where the window of keys before this one begins; `undefined` if it is the last. */
const windowBefore = ({ sql }: RunTable, before: number): number | undefined => {
  const row = sql.keyBefore.get(before, windowSize - 1) as { readonly key: number } | undefined
  return row?.key
}

// ---- counts

const countRuns = (table: RunTable, access: Access): Failing<ReadonlyArray<Store.RunCount>> => {
  const from = (before: number, counted: ReadonlyArray<Store.RunCount>): Failing<ReadonlyArray<Store.RunCount>> => {
    const page = access.read("Counting runs", (now) => {
      const from = windowBefore(table, before)
      const window = { now, from: from ?? Number.MIN_SAFE_INTEGER, before }
      return { from, counts: table.sql.countRuns.all(window) as ReadonlyArray<Store.RunCount> }
    })
    return Effect.flatMap(page, ({ counts, from: next }) => {
      const all = merged([...counted, ...counts])
      return next === undefined ? Effect.succeed(all) : Effect.zipRight(turn, from(next, all))
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
