import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { InvalidOption } from "../../../resilience/InvalidOption.js"
import * as options from "../../../resilience/internal/kernel/options.js"
import type { Service, Snapshot, SnapshotQuery, StorageError } from "../../../storage/Storage.js"
import type { Info, Query, Retention, Stats } from "../../Checkpoint.js"
import { escapeName } from "../execution/execution.js"
import { sharedKind } from "../state/service.js"
import { isIntact } from "./stateCodec.js"

/** `own` applies if the query names no run. */
export const toQuery = (
  { before, kind, labels, limit, rewound, run }: Query,
  own: string | null | undefined
): SnapshotQuery => ({
  run: run === "any" ? undefined : (run ?? own),
  kind,
  labels,
  limit: options.limit({ limit }),
  rewound,
  before: typeof before === "string" ? Number(before) : undefined,
  takenBefore: before instanceof Date ? before.getTime() : undefined
})

/** Snapshots of all checkpoints. Values that runs share are snapshots too. */
export const listAll = (
  storage: Service,
  query: Query & { readonly name?: string | undefined }
): Effect.Effect<ReadonlyArray<Snapshot>, StorageError> =>
  storage.snapshots({ ...toQuery(query, undefined), name: query.name, except: sharedKind })

/** The checkpoint with this id, whatever its name. */
export const findAny = (storage: Service, id: string): Effect.Effect<Option.Option<Snapshot>, StorageError> =>
  String(Number(id)) === id
    ? Effect.map(
        storage.snapshot(Number(id)),
        Option.filter(({ kind }) => kind !== sharedKind)
      )
    : Effect.succeedNone

const page = 1_000

/** Reads page by page, so that memory does not grow with the number of snapshots. */
const fold = <A>(
  storage: Service,
  query: SnapshotQuery,
  initial: A,
  add: (known: A, snapshot: Snapshot) => A
): Effect.Effect<A, StorageError> =>
  Effect.gen(function* () {
    let known = initial
    let before = query.before
    for (;;) {
      const found = yield* storage.snapshots({ ...query, except: sharedKind, before, limit: page })
      for (const snapshot of found) known = add(known, snapshot)
      before = found.at(-1)?.key
      if (found.length < page) return known
    }
  })

export const statsOf = (storage: Service, query: SnapshotQuery): Effect.Effect<Stats, StorageError> =>
  Effect.suspend(() => {
    const byKind = new Map<string, number>()
    const byName = new Map<string, number>()
    const none = { count: 0, bytes: 0, oldest: Infinity, newest: -Infinity }
    const sums = fold(storage, query, none, (known, { at, kind, name, size }) => {
      byKind.set(kind, (byKind.get(kind) ?? 0) + 1)
      byName.set(name, (byName.get(name) ?? 0) + 1)
      const { bytes, count, newest, oldest } = known
      return { count: count + 1, bytes: bytes + size, oldest: Math.min(oldest, at), newest: Math.max(newest, at) }
    })
    const toDate = (millis: number) => (Number.isFinite(millis) ? Option.some(new Date(millis)) : Option.none())
    return Effect.map(sums, ({ newest, oldest, ...known }) => ({
      ...known,
      oldest: toDate(oldest),
      newest: toDate(newest),
      byKind: Object.fromEntries(byKind),
      byName: Object.fromEntries(byName)
    }))
  })

/** A retention whose options were checked. Both are Infinity by default. */
export interface Limits {
  readonly keep: number
  /** In milliseconds. */
  readonly maxAge: number
}

export const limitsOf = ({ keep = Infinity, maxAge }: Retention): Limits => ({
  keep: options.wholeOrInfinity("keep", keep, 1),
  maxAge: maxAge === undefined ? Infinity : options.age("maxAge", maxAge)
})

/** Whether it was saved in the body of a run. The run's journal refers to such a checkpoint. */
const isInBody = ({ name, step }: Snapshot): boolean => {
  const key = step.slice(step.lastIndexOf("/") + 1)
  return key === `${escapeName(name)}!` || key.startsWith(`${escapeName(name)}!#`)
}

/** Removes older checkpoints of the same run and name after a save. The one that was just saved stays. */
export const trim = (
  storage: Service,
  { name, run }: Info,
  { keep, maxAge }: Limits
): Effect.Effect<void, StorageError> =>
  Effect.gen(function* () {
    const limit = keep === Infinity ? page : keep + 20
    const all = yield* storage.snapshots({ run: run ?? null, name, limit })
    const found = all.filter((snapshot) => !isInBody(snapshot))
    const oldest = yield* oldestAllowed(maxAge)
    const excess = found.filter(({ at }, i) => i > 0 && (i >= keep || at < oldest))
    if (excess.length > 0) yield* storage.remove(excess.map(({ key }) => key))
  })

const oldestAllowed = (maxAge: number): Effect.Effect<number> =>
  Effect.map(Clock.currentTimeMillis, (now) => now - maxAge)

export const cleanup = (
  storage: Service,
  {
    labels,
    name,
    ...retention
  }: Retention & { readonly name?: string | undefined; readonly labels?: Readonly<Record<string, string>> | undefined }
): Effect.Effect<number, StorageError | InvalidOption> =>
  Effect.gen(function* () {
    const { keep, maxAge } = yield* options.checked(() => limitsOf(retention))
    const oldest = yield* oldestAllowed(maxAge)
    const groups = yield* fold(
      storage,
      { name, labels, rewound: true },
      new Map<string, Array<Snapshot>>(),
      (known, snapshot) => {
        const group = JSON.stringify([snapshot.run ?? null, snapshot.name])
        known.set(group, [...(known.get(group) ?? []), snapshot])
        return known
      }
    )
    let removed = 0
    for (const group of groups.values()) {
      const excess = group.filter(({ at }, i) => i >= keep || at < oldest)
      if (excess.length === 0) continue
      const needed = yield* newestNeeded(storage, group)
      const keys = excess.map(({ key }) => key).filter((key) => key !== needed)
      removed += yield* storage.remove(keys)
    }
    return removed
  })

/** The newest intact checkpoint of a run without an outcome: the run may be rewound to it. */
const newestNeeded = (
  storage: Service,
  group: ReadonlyArray<Snapshot>
): Effect.Effect<number | undefined, StorageError> =>
  Effect.gen(function* () {
    const run = group[0]?.run
    if (run === undefined) return undefined
    const found = yield* storage.find(run)
    if (Option.isNone(found) || found.value.outcome !== undefined) return undefined
    for (const { key, rewound } of group) {
      if (!rewound && (yield* isIntact(storage, String(key)))) return key
    }
    return undefined
  })
