/**
 * Caches in front of a store that is far away.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cache from "effect/Cache"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { warning } from "../resilience/internal/kernel/logged.js"
import { millisOrInfinity, whole } from "../resilience/internal/kernel/options.js"
import type { StorageError } from "./StorageError.js"
import type { FullSnapshot, Snapshot, Store } from "./Store.js"

type State = FullSnapshot["state"]

/**
 * A cache of snapshot states by id, such as a Redis. It may forget a state at
 * any time. An id always stands for the same state.
 *
 * @since 0.1.0
 * @category tiers
 */
export interface Tier {
  /** A failure, or no answer within 1 second, counts as a miss. The first one in a row is logged. */
  readonly get: (id: string) => Effect.Effect<Option.Option<string | Uint8Array>, unknown>
  /** A failure does not fail the reader. The first one in a row is logged. The reader waits at most 1 second. */
  readonly set: (id: string, state: string | Uint8Array) => Effect.Effect<void, unknown>
}

/**
 * A tier in this process's memory. It keeps the most recently used states.
 *
 * @since 0.1.0
 * @category tiers
 */
export const tierMemory = ({
  capacity = 1_000,
  timeToLive = "1 hour"
}: {
  /** The maximum number of states, at least 1. Defaults to 1,000. */
  readonly capacity?: number | undefined
  /** How long a state is kept; `Infinity` for no limit. Defaults to 1 hour. */
  readonly timeToLive?: Duration.DurationInput | undefined
} = {}): Effect.Effect<Tier> =>
  Effect.map(makeCache(whole("capacity", capacity, 1), millisOrInfinity("timeToLive", timeToLive, 1)), (cache) => ({
    get: (id) => Effect.map(cache.getOption(id), Option.map(copyOf)),
    set: (id, state) => cache.set(id, copyOf(state))
  }))

/** The lookup is never used: the cache is only read with `getOption` and filled with `set`. */
const makeCache = (capacity: number, timeToLive: number) =>
  Cache.make<string, State>({ capacity, timeToLive, lookup: () => Effect.never })

/** Callers may change the bytes they passed in or got. */
const copyOf = (state: State): State => (typeof state === "string" ? state : state.slice())

/**
 * Reads states through tiers: the first tier that has the state returns it, and
 * the tiers before it store it. Everything else about a snapshot is read from the
 * store, so a removal or a rewind by another process takes effect at once.
 *
 * @example
 * ```ts
 * import { Checkpoint, Storage } from "effect-recovery"
 * import { Effect, Layer, Option, Schema } from "effect"
 *
 * // Yours, such as one over a network.
 * const remote = Storage.memoryStore()
 *
 * const storage = Layer.scoped(
 *   Storage.Storage,
 *   Effect.gen(function* () {
 *     const memory = yield* Storage.tierMemory({ capacity: 500 })
 *     return yield* Storage.make(Storage.tiered(remote, [memory]), { owner: "worker-1" })
 *   })
 * )
 *
 * const Progress = Checkpoint.make("progress", { schema: Schema.Number })
 * const program = Effect.zipRight(Progress.save(40), Progress.latest())
 * Effect.runPromise(Effect.provide(program, storage)).then((latest) => console.log(Option.isSome(latest))) // true
 * ```
 *
 * @since 0.1.0
 * @category tiers
 */
export const tiered = (store: Store, tiers: ReadonlyArray<Tier>): Store => {
  const orMiss = makeOrMiss()
  const fromStore = (key: number) =>
    Effect.map(
      store.snapshot(key),
      Option.map(({ state }) => state)
    )
  const readState = (found: Snapshot, index: number): Effect.Effect<Option.Option<State>, StorageError> => {
    const tier = tiers[index]
    if (tier === undefined) return fromStore(found.key)
    const id = `${found.key}-${found.encoding}-${found.digest}`
    return Effect.flatMap(
      orMiss(tier, () => tier.get(id)),
      (answer) => {
        const cached = Option.flatMap(Option.flatten(answer), (state) => decode(found.encoding, state))
        if (Option.isSome(cached)) return Effect.succeed(cached)
        return Effect.tap(readState(found, index + 1), (state) =>
          Option.isSome(state) ? orMiss(tier, () => tier.set(id, state.value)) : Effect.void
        )
      }
    )
  }
  const readFull = (found: Snapshot): Effect.Effect<Option.Option<FullSnapshot>, StorageError> =>
    // Without a digest the id would not identify the state, and only the store says what is wrong with a damaged row.
    found.digest === "" || found.damaged !== undefined
      ? store.snapshot(found.key)
      : Effect.map(
          readState(found, 0),
          Option.map((state) => ({ ...found, state }))
        )
  const readFirst = ([found]: ReadonlyArray<Snapshot>): Effect.Effect<Option.Option<FullSnapshot>, StorageError> =>
    found === undefined ? Effect.succeedNone : readFull(found)
  return {
    ...store,
    newest: (query) => Effect.flatMap(store.snapshots({ ...query, limit: 1 }), readFirst),
    // One that was removed since the list was read has no state: it is left out.
    fullSnapshots: (query) =>
      Effect.flatMap(store.snapshots(query), (found) =>
        Effect.map(Effect.forEach(found, readFull, { concurrency: 10 }), Arr.getSomes)
      ),
    snapshot: (key) =>
      Effect.flatMap(store.snapshots({ before: key + 1, rewound: true, limit: 1 }), (found) =>
        readFirst(found.filter((snapshot) => snapshot.key === key))
      )
  }
}

/** A tier that fails, dies or takes longer than 1 second counts as a miss. Logged once until the tier works again. */
const makeOrMiss = () => {
  const failing = new Set<Tier>()
  const missed = (tier: Tier, cause: Cause.Cause<unknown>) => {
    if (failing.has(tier)) return Effect.succeedNone
    failing.add(tier)
    return Effect.as(
      warning("a tier of the storage failed; its states are read from the next tier", cause),
      Option.none()
    )
  }
  return <A>(tier: Tier, call: () => Effect.Effect<A, unknown>): Effect.Effect<Option.Option<A>> =>
    Effect.suspend(call).pipe(
      Effect.timeoutFail({ duration: "1 second", onTimeout: () => new Error("it gave no answer within 1 second") }),
      Effect.matchCauseEffect({
        onFailure: (cause) => (Cause.isInterrupted(cause) ? Effect.interrupt : missed(tier, cause)),
        onSuccess: (value) => {
          failing.delete(tier)
          return Effect.succeedSome(value)
        }
      })
    )
}

/** Many caches return bytes for a text. */
const decode = (encoding: string, state: State): Option.Option<State> => {
  if (encoding === "json") return Option.some(typeof state === "string" ? state : new TextDecoder().decode(state))
  return typeof state === "string" ? Option.none() : Option.some(state)
}
