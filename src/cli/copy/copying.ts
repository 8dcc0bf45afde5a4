/** Everything of one store to another, in pages. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RestoreConflict, StorageError } from "../../storage/StorageError.js"
import type { Counter, RecordRow, Run, Snapshot, Store, StoredRow } from "../../storage/Store.js"
import { runText, snapshotText } from "../../storage/storedRows.js"

type Failing<A> = Effect.Effect<A, StorageError>

export interface Stores {
  readonly from: Store
  readonly to: Store
}

/** Called after each page, with how many rows of a kind are in the target. */
export type Told = (kind: "runs" | "checkpoints" | "records" | "counters", rows: number) => void

/** How many rows were written. */
export type Written = Readonly<Record<Parameters<Told>[0], number>>

const pageSize = 100

/** Of a page, so many are read at once with all that belongs to them. */
const chunkSize = 8

/** What is written in one commit, in characters or bytes. */
const maxBatch = 4_000_000

/**
 * Calls `use` with pages of a list, oldest first. Stores list runs and records newest
 * first, so this looks for where each page begins, and keeps one number for each.
 */
const eachOldestFirst = <A extends { readonly key: number }, E>(
  list: (before: number | undefined) => Failing<ReadonlyArray<A>>,
  use: (page: ReadonlyArray<A>) => Effect.Effect<void, E>
): Effect.Effect<void, E | StorageError> =>
  Effect.gen(function* () {
    const starts: Array<number> = []
    for (let before: number | undefined; ; ) {
      const page = yield* list(before)
      const [first] = page
      if (first === undefined) break
      starts.push(first.key + 1)
      before = page.at(-1)?.key
    }
    for (const before of starts.reverse()) yield* use([...(yield* list(before))].reverse())
  })

export const eachPageOfRuns = <E>(store: Store, use: (page: ReadonlyArray<Run>) => Effect.Effect<void, E>) =>
  eachOldestFirst((before) => store.list({ before, limit: pageSize }), use)

export const eachPageOfRecords = <E>(store: Store, use: (page: ReadonlyArray<RecordRow>) => Effect.Effect<void, E>) =>
  eachOldestFirst((before) => store.records({ before, limit: pageSize }), use)

/** Without the states. */
export const eachPageOfSnapshots = <E>(
  store: Store,
  use: (page: ReadonlyArray<Snapshot>) => Effect.Effect<void, E>
): Effect.Effect<void, E | StorageError> =>
  Effect.gen(function* () {
    for (let after: number | undefined; ; ) {
      const page = yield* store.snapshots({ order: "oldest", rewound: true, after, limit: pageSize })
      if (page.length === 0) return
      yield* use(page)
      after = page.at(-1)?.key
    }
  })

export const eachPageOfCounters = <E>(
  store: Store,
  use: (page: ReadonlyArray<Counter>) => Effect.Effect<void, E>
): Effect.Effect<void, E | StorageError> =>
  Effect.flatMap(store.counters(""), (all) => Effect.forEach(chunksOf(all, pageSize), use, { discard: true }))

const chunksOf = <A>(all: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size))

/** Reads what belongs to each row, some rows at a time, and uses it in their order. */
export const eachWith = <A, B, E, F>(
  page: ReadonlyArray<A>,
  read: (row: A) => Effect.Effect<B, E>,
  use: (found: B) => Effect.Effect<void, F>
): Effect.Effect<void, E | F> =>
  Effect.forEach(
    chunksOf(page, chunkSize),
    (chunk) =>
      Effect.flatMap(Effect.forEach(chunk, read, { concurrency: chunkSize }), Effect.forEach(use, { discard: true })),
    { discard: true }
  )

const sizeOf = (row: StoredRow): number => {
  if (row._tag === "Run") return row.journal.reduce((size, { payload = "" }) => size + payload.length + 100, 500)
  return row._tag === "Snapshot" ? row.snapshot.state.length + 500 : 500
}

/** Writes rows to the target, many in each commit. */
const makeBatch = (to: Store) => {
  let rows: Array<StoredRow> = []
  let size = 0
  const flush: Effect.Effect<number, StorageError | RestoreConflict> = Effect.suspend(() => {
    const given = rows
    rows = []
    size = 0
    return given.length === 0 ? Effect.succeed(0) : to.restore(given)
  })
  return {
    flush,
    add: (row: StoredRow) =>
      Effect.suspend(() => {
        rows.push(row)
        size += sizeOf(row)
        return size < maxBatch ? Effect.succeed(0) : flush
      })
  }
}

type Copying = Effect.Effect<number, StorageError | RestoreConflict>

/** Writes what `rowOf` returns for each row of a page; none for what is there already. Returns how many were written. */
const writePage = <A>(to: Store, page: ReadonlyArray<A>, rowOf: (row: A) => Failing<StoredRow | undefined>): Copying =>
  Effect.gen(function* () {
    const batch = makeBatch(to)
    let written = 0
    yield* eachWith(page, rowOf, (row) =>
      row === undefined
        ? Effect.void
        : Effect.map(batch.add(row), (count) => {
            written += count
          })
    )
    return written + (yield* batch.flush)
  })

/** A run that is there and did not change since has its whole journal: both were written in one commit. */
const runRow = ({ from, to }: Stores, run: Run): Failing<StoredRow | undefined> =>
  Effect.flatMap(to.find(run.id), (found) =>
    Option.isSome(found) && runText(found.value) === runText(run)
      ? Effect.succeed(undefined)
      : Effect.zipWith(
          from.journal(run.key),
          from.signals(run.key),
          (journal, signals): StoredRow => ({ _tag: "Run", run, journal, signals })
        )
  )

const copySnapshots = ({ from, to }: Stores, page: ReadonlyArray<Snapshot>): Copying =>
  Effect.gen(function* () {
    const [first, last] = [page[0]?.key ?? 0, page.at(-1)?.key ?? 0]
    const there = yield* to.snapshots({
      order: "oldest",
      rewound: true,
      after: first - 1,
      before: last + 1,
      limit: pageSize
    })
    // Those with a digest can be compared without their states.
    const known = new Set(there.filter(({ digest }) => digest !== "").map(snapshotText))
    const isMissing = (row: Snapshot) => !known.has(snapshotText(row))
    return yield* writePage(to, page.filter(isMissing), ({ key }) =>
      Effect.map(from.snapshot(key), (found) =>
        Option.getOrUndefined(Option.map(found, (snapshot): StoredRow => ({ _tag: "Snapshot", snapshot })))
      )
    )
  })

/**
 * Runs come last: in the target a worker finds a run only when all that it may use is
 * there. What is there already is skipped, so a copy that was stopped continues.
 */
export const copyAll = (stores: Stores, told: Told): Effect.Effect<Written, StorageError | RestoreConflict> =>
  Effect.gen(function* () {
    const { from, to } = stores
    const written = { runs: 0, checkpoints: 0, records: 0, counters: 0 }
    const seen = { ...written }
    const counting =
      <A>(kind: keyof Written, copy: (page: ReadonlyArray<A>) => Copying) =>
      (page: ReadonlyArray<A>) =>
        Effect.map(copy(page), (count) => {
          written[kind] += count
          seen[kind] += page.length
          told(kind, seen[kind])
        })
    yield* eachPageOfSnapshots(
      from,
      counting("checkpoints", (page) => copySnapshots(stores, page))
    )
    yield* eachPageOfRecords(
      from,
      counting("records", (page) => to.restore(page.map((record) => ({ _tag: "Record", record }))))
    )
    yield* eachPageOfCounters(
      from,
      counting("counters", (page) => to.restore(page.map((counter) => ({ _tag: "Counter", counter }))))
    )
    yield* eachPageOfRuns(
      from,
      counting("runs", (page) => writePage(to, page, (run) => runRow(stores, run)))
    )
    return written
  })
