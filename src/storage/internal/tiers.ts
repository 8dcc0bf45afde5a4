import * as Cache from "effect/Cache"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { FullSnapshot, Snapshot, Store, Tier } from "../Storage.js"
import type { StorageError } from "../StorageError.js"

type State = FullSnapshot["state"]

interface MemoryOptions {
  readonly capacity?: number | undefined
  readonly timeToLive?: Duration.DurationInput | undefined
}

/** Only ever given and asked, so nothing is looked up. */
export const memory = ({ capacity = 1_000, timeToLive = "1 hour" }: MemoryOptions): Effect.Effect<Tier> =>
  Effect.map(Cache.make<string, State>({ capacity, timeToLive, lookup: () => Effect.never }), (cache) => ({
    get: (id) => Effect.map(cache.getOption(id), Option.map(copyOf)),
    set: (id, state) => cache.set(id, copyOf(state))
  }))

/** What others do with their bytes is no matter of the tier. */
const copyOf = (state: State): State => (typeof state === "string" ? state : state.slice())

/** What a tier may take. One that takes longer has nothing. */
const patience = "1 second"

/**
 * What is known of a snapshot may change, and comes from the store each time; its
 * state is what its digest says, wherever it comes from.
 */
export const tiered = (store: Store, tiers: ReadonlyArray<Tier>): Store => {
  const full = (found: Snapshot): Effect.Effect<Option.Option<FullSnapshot>, StorageError> => {
    // Without a digest nothing says that a state is this one.
    if (found.digest === "") return store.snapshot(found.key)
    const id = `${found.key}-${found.encoding}-${found.digest}`
    const from = (index: number): Effect.Effect<Option.Option<State>, StorageError> => {
      const tier = tiers[index]
      if (tier === undefined)
        return Effect.map(
          store.snapshot(found.key),
          Option.map(({ state }) => state)
        )
      return Effect.flatMap(
        quietly(() => tier.get(id)),
        (answer) => {
          const known = Option.flatMap(Option.flatten(answer), (state) => inForm(found.encoding, state))
          return Option.isSome(known)
            ? Effect.succeed(known)
            : Effect.tap(from(index + 1), (state) =>
                Option.isSome(state) ? quietly(() => tier.set(id, state.value)) : Effect.void
              )
        }
      )
    }
    return Effect.map(
      from(0),
      Option.map((state) => ({ ...found, state }))
    )
  }
  const first = (found: ReadonlyArray<Snapshot>) => (found[0] === undefined ? Effect.succeedNone : full(found[0]))
  return {
    ...store,
    newest: (query) => Effect.flatMap(store.snapshots({ ...query, limit: 1 }), first),
    snapshot: (key) =>
      Effect.flatMap(store.snapshots({ before: key + 1, rewound: true, limit: 1 }), (found) =>
        first(found.filter((snapshot) => snapshot.key === key))
      )
  }
}

/** A tier in trouble, of whatever kind, has nothing. */
const quietly = <A>(call: () => Effect.Effect<A, unknown>): Effect.Effect<Option.Option<A>> =>
  Effect.suspend(call).pipe(
    Effect.timeoutOption(patience),
    Effect.catchAllCause((cause) => (Cause.isInterrupted(cause) ? Effect.interrupt : Effect.succeedNone))
  )

/** Many a place gives bytes back for a text. */
const inForm = (encoding: string, state: State): Option.Option<State> => {
  if (encoding === "json") return Option.some(typeof state === "string" ? state : new TextDecoder().decode(state))
  return typeof state === "string" ? Option.none() : Option.some(state)
}
