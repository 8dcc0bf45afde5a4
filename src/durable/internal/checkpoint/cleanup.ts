import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Service, Snapshot, SnapshotQuery, StorageError } from "../../../storage/Storage.js"
import type { Info, Query, Retention, Stats } from "../../Checkpoint.js"
import { escapeName } from "../execution/execution.js"
import { sharedKind } from "../state/global.js"
import { isWhole } from "./whole.js"

/** A query as the storage takes it; `run` is the one that is meant without a word. */
export const toQuery = (
  { before, kind, labels, limit, rewound, run }: Query,
  own: string | null | undefined
): SnapshotQuery => ({
  run: run === "any" ? undefined : (run ?? own),
  kind,
  labels,
  limit,
  rewound,
  before: typeof before === "string" ? Number(before) : undefined,
  takenBefore: before instanceof Date ? before.getTime() : undefined
})

export const all = (
  storage: Service,
  query: Query & { readonly name?: string | undefined }
): Effect.Effect<ReadonlyArray<Snapshot>, StorageError> =>
  storage.snapshots({ ...toQuery(query, undefined), name: query.name, except: sharedKind })

const page = 1_000

/** Page by page, so that no more is held than is used. */
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

interface Sums {
  readonly count: number
  readonly bytes: number
  readonly oldest: number
  readonly newest: number
  readonly byKind: Map<string, number>
  readonly byName: Map<string, number>
}

export const stats = (storage: Service, query: SnapshotQuery): Effect.Effect<Stats, StorageError> => {
  const none: Sums = { count: 0, bytes: 0, oldest: Infinity, newest: -Infinity, byKind: new Map(), byName: new Map() }
  const count = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1)
  const sums = fold(storage, query, none, (known, { at, kind, name, size }) => ({
    count: known.count + 1,
    bytes: known.bytes + size,
    oldest: Math.min(known.oldest, at),
    newest: Math.max(known.newest, at),
    byKind: count(known.byKind, kind),
    byName: count(known.byName, name)
  }))
  return Effect.map(sums, ({ byKind, byName, bytes, count, newest, oldest }) => ({
    count,
    bytes,
    oldest: count === 0 ? Option.none() : Option.some(new Date(oldest)),
    newest: count === 0 ? Option.none() : Option.some(new Date(newest)),
    byKind: Object.fromEntries(byKind),
    byName: Object.fromEntries(byName)
  }))
}

/** Refuses what no one can have meant. */
export const checkRetention = (name: string, { keep, maxAge }: Retention): Retention => {
  if (keep !== undefined && keep !== Infinity && !(Number.isInteger(keep) && keep >= 1)) {
    throw new RangeError(`Checkpoint "${name}": keep must be a whole number from 1 on, not ${keep}`)
  }
  return { keep: keep === Infinity ? undefined : keep, maxAge }
}

/** Saved in the body of a run, under a key of its own: its journal refers to it as long as it has no outcome. */
const isInBody = ({ name, step }: Snapshot): boolean => {
  const key = step.slice(step.lastIndexOf("/") + 1)
  return key === `${escapeName(name)}!` || key.startsWith(`${escapeName(name)}!#`)
}

/** With each save: what its own run has too many of. The one just saved is the newest, and stays. */
export const trim = (
  storage: Service,
  { name, run }: Info,
  { keep, maxAge }: Retention
): Effect.Effect<void, StorageError> =>
  Effect.gen(function* () {
    const limit = keep === undefined ? page : Math.max(1, keep) + 20
    const all = yield* storage.snapshots({ run: run ?? null, name, limit })
    const found = all.filter((snapshot) => !isInBody(snapshot))
    const oldest = yield* oldestAllowed(maxAge)
    const excess = found.filter(({ at }, i) => i > 0 && (i >= (keep ?? Infinity) || at < oldest))
    if (excess.length > 0) yield* storage.remove(excess.map(({ key }) => key))
  })

const oldestAllowed = (maxAge: Duration.DurationInput | undefined): Effect.Effect<number> =>
  Effect.map(Clock.currentTimeMillis, (now) => (maxAge === undefined ? -Infinity : now - Duration.toMillis(maxAge)))

export const cleanup = (
  storage: Service,
  {
    keep = Number.POSITIVE_INFINITY,
    labels,
    maxAge,
    name
  }: Retention & { readonly name?: string | undefined; readonly labels?: Readonly<Record<string, string>> | undefined }
): Effect.Effect<number, StorageError> =>
  Effect.gen(function* () {
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

/** The newest one a run without an outcome could go back to. */
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
      if (!rewound && (yield* isWhole(storage, String(key)))) return key
    }
    return undefined
  })
