import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { readString } from "../../../resilience/Foreign.js"
import { InvalidOption } from "../../../resilience/InvalidOption.js"
import * as options from "../../../resilience/internal/kernel/options.js"
import type { FullSnapshot, Service, Snapshot, SnapshotQuery, StorageError } from "../../../storage/Storage.js"
import type { Info } from "../../CheckpointInfo.js"
import type { Cursor, Query, Removal, Stats } from "../../CheckpointQuery.js"
import { sharedKind } from "../state/service.js"
import { infoOf } from "./info.js"

/** `own` applies if the query names no run. */
export const toQuery = (query: Query, own: string | null | undefined, name: string | undefined): SnapshotQuery => {
  const { after, before, key, kind, labels, limit, metadata, order, rewound, run } = query
  for (const label in labels) {
    options.checkOption(`labels.${label}`, labels[label], typeof labels[label] === "string", "a text")
  }
  return {
    run: run === "any" ? undefined : (run ?? own),
    name,
    own: typeof key === "string" ? [key] : key,
    kind,
    labels,
    metadata: metadata && JSON.stringify(metadata),
    limit: options.limit({ limit }, Number.POSITIVE_INFINITY),
    order,
    rewound,
    ...(before === undefined ? {} : beforeOf(checkCursor("before", before))),
    ...(after === undefined ? {} : afterOf(checkCursor("after", after)))
  }
}

/** The number of a checkpoint; none if the text is no id. */
const numberOf = (id: string): number | undefined => (String(Number(id)) === id ? Number(id) : undefined)

const checkCursor = (option: string, cursor: Cursor): Cursor => {
  if (cursor instanceof Date) return options.date(option, cursor)
  const isCursor = typeof cursor === "string" || readString(cursor, "key") !== undefined
  return options.checkOption(option, cursor, isCursor, 'the id of a checkpoint, a date, or a key as { key: "2026-11" }')
}

/** Nothing lies before or after an id that is none. */
const beforeOf = (cursor: Cursor): SnapshotQuery => {
  if (typeof cursor === "string") return { before: numberOf(cursor) ?? 0 }
  return cursor instanceof Date ? { takenBefore: cursor.getTime() } : { ownBefore: cursor.key }
}

const afterOf = (cursor: Cursor): SnapshotQuery => {
  if (typeof cursor === "string") return { after: numberOf(cursor) ?? Number.MAX_SAFE_INTEGER }
  return cursor instanceof Date ? { takenAfter: cursor.getTime() } : { ownAfter: cursor.key }
}

/** The checkpoint with this id, whatever its name. */
export const findAny = (storage: Service, id: string): Effect.Effect<Option.Option<FullSnapshot>, StorageError> => {
  const number = numberOf(id)
  return number === undefined
    ? Effect.succeedNone
    : Effect.map(
        storage.snapshot(number),
        Option.filter(({ kind }) => kind !== sharedKind)
      )
}

type Read<A, E> = (query: SnapshotQuery) => Effect.Effect<ReadonlyArray<A>, E>

/** Reads one page. Returns the query for the rest too, if there may be more. Values that runs share are snapshots too. */
const readPage = <A extends Snapshot, E>(
  read: Read<A, E>,
  query: SnapshotQuery,
  size: number
): Effect.Effect<readonly [ReadonlyArray<A>, Option.Option<SnapshotQuery>], E> => {
  const { limit = Number.POSITIVE_INFINITY } = query
  const asked = Math.min(size, limit)
  return Effect.map(read({ ...query, except: sharedKind, limit: asked }), (found) => {
    const left = limit - found.length
    const isLast = found.length < asked || left <= 0
    return [found, isLast ? Option.none() : Option.some({ ...query, past: found.at(-1), limit: left })]
  })
}

const page = 1_000

/** Reads page by page, so that memory does not grow with the number of snapshots. */
export const forEach = (
  storage: Service,
  query: SnapshotQuery,
  visit: (snapshot: Snapshot) => void
): Effect.Effect<void, StorageError> =>
  Effect.gen(function* () {
    let rest = Option.some(query)
    while (Option.isSome(rest)) {
      const [found, next] = yield* readPage(storage.snapshots, rest.value, page)
      for (const snapshot of found) visit(snapshot)
      rest = next
    }
  })

/** Without a limit it returns all. */
export const listInfos = (storage: Service, query: SnapshotQuery): Effect.Effect<ReadonlyArray<Info>, StorageError> =>
  Effect.suspend(() => {
    const infos: Array<Info> = []
    return Effect.as(
      forEach(storage, query, (snapshot) => infos.push(infoOf(snapshot))),
      infos
    )
  })

export const streamFull = <E>(
  read: Read<FullSnapshot, E>,
  query: SnapshotQuery,
  pageSize: number
): Stream.Stream<FullSnapshot, E> =>
  Stream.paginateChunkEffect(query, (rest) =>
    Effect.map(readPage(read, rest, pageSize), ([found, next]) => [Chunk.unsafeFromArray(found), next] as const)
  )

export const removeKeys = (storage: Service, keys: ReadonlyArray<number>): Effect.Effect<number, StorageError> =>
  Effect.gen(function* () {
    let removed = 0
    // In parts, so that other writes get their turn.
    for (let i = 0; i < keys.length; i += page) removed += yield* storage.remove(keys.slice(i, i + page))
    return removed
  })

/** A removal without a condition would remove everything: it is refused. */
export const removalQuery = (
  which: string | Removal,
  own: string | null,
  name: string | undefined
): Effect.Effect<SnapshotQuery, InvalidOption> =>
  options.checked(() => (typeof which === "string" ? idQuery(which, name) : toQuery(checkRemoval(which), own, name)))

export const removeMatching = (storage: Service, query: SnapshotQuery): Effect.Effect<number, StorageError> =>
  Effect.suspend(() => {
    const keys: Array<number> = []
    const found = forEach(storage, query, ({ key }) => keys.push(key))
    return Effect.zipRight(found, removeKeys(storage, keys))
  })

const checkRemoval = (removal: Removal): Removal => {
  const { after, before, key, kind, labels = {}, metadata = {}, run } = removal
  const isGiven = (run ?? key ?? kind ?? before ?? after) !== undefined
  if (isGiven || Object.keys({ ...labels, ...metadata }).length > 0) return removal
  throw new InvalidOption({
    option: "which",
    value: removal,
    expected: "an id, or at least one of run, key, kind, labels, metadata, before and after"
  })
}

const idQuery = (id: string, name: string | undefined): SnapshotQuery => {
  const number = numberOf(id) ?? 0
  return { name, after: number - 1, before: number + 1, rewound: true }
}

export const statsOf = (storage: Service, query: SnapshotQuery): Effect.Effect<Stats, StorageError> =>
  Effect.suspend(() => {
    const byKind = new Map<string, number>()
    const byName = new Map<string, number>()
    let [count, bytes, oldest, newest] = [0, 0, Infinity, -Infinity]
    const read = forEach(storage, query, ({ at, kind, name, size }) => {
      byKind.set(kind, (byKind.get(kind) ?? 0) + 1)
      byName.set(name, (byName.get(name) ?? 0) + 1)
      count++
      bytes += size
      oldest = Math.min(oldest, at)
      newest = Math.max(newest, at)
    })
    const toDate = (millis: number) => (Number.isFinite(millis) ? Option.some(new Date(millis)) : Option.none())
    return Effect.map(read, () => ({
      count,
      bytes,
      oldest: toDate(oldest),
      newest: toDate(newest),
      byKind: Object.fromEntries(byKind),
      byName: Object.fromEntries(byName)
    }))
  })
