import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { type Journal, type KnownKey, knownKeys } from "../../../journal/Journal.js"
import { Pulse } from "./activity.js"
import { never, resting } from "./bodyFibers.js"

/**
 * A section of the run that is only replayed, to register again what it has
 * done: its steps answer from the journal, in the order of the journal, and no
 * step begins.
 */
export interface Replay {
  readonly within: string
  /** The program itself comes to the end of the section again, beside the rest of the run. */
  readonly isNatural: boolean
  /** Keys of the journal that the program has not reached yet. */
  readonly missing: Map<string, KnownKey>
  /** The last line at which a transaction restarted. */
  readonly restartedAt: number
  /** Answers that wait until every key that began before them was reached. */
  readonly held: Set<HeldAnswer>
  /** How many fibers wait for the end of the replay. */
  parked: number
  readonly changed: Pulse
  /** Completes when the program asks for something the journal does not have. */
  readonly beyond: Deferred.Deferred<void>
  /** Completes when a fiber waits at a key that has no line, or work without a recorded result: it cannot get further. */
  readonly diverged: Deferred.Deferred<void>
  /** Fails the fibers that wait for the end of the replay: the section fails as recorded. */
  readonly failure: Deferred.Deferred<never>
}

interface HeldAnswer {
  readonly seq: number
  readonly turn: Deferred.Deferred<void>
}

export type Replays = Set<Replay>

const deferred = <A = void>() => Deferred.unsafeMake<A>(resting)

export const make = (within: string, journal: Journal, isNatural = false): Replay => ({
  within,
  isNatural,
  missing: new Map(knownKeys(journal).filter(([key]) => key.startsWith(within))),
  restartedAt: journal.restartedAt,
  held: new Set(),
  parked: 0,
  changed: new Pulse(),
  beyond: deferred(),
  diverged: deferred(),
  failure: deferred()
})

/** The required keys that the program has not reached. */
export const unreached = ({ missing }: Replay): ReadonlyArray<string> =>
  [...missing].filter(([, { isRequired }]) => isRequired).map(([key]) => key)

/** The replay whose section contains this key. */
export const covering = (replays: Replays, key: string): Replay | undefined => {
  if (replays.size === 0) return undefined
  for (const replay of replays) if (key.startsWith(replay.within)) return replay
  return undefined
}

/** The program has reached this key, and its compensation is registered. */
export const reached = (replays: Replays, key: string): void => {
  if (replays.size === 0) return
  for (const replay of replays) {
    if (!replay.missing.delete(key)) continue
    for (const held of replay.held) {
      if (!isEarlierMissing(replay, held.seq)) Deferred.unsafeDone(held.turn, Effect.void)
    }
    replay.changed.notify()
  }
}

const isEarlierMissing = ({ missing, restartedAt }: Replay, seq: number): boolean => {
  // What follows a transaction that restarted may have begun before its lines.
  const first = seq > restartedAt ? restartedAt : 0
  for (const { order } of missing.values()) if (first < order && order < seq) return true
  return false
}

/**
 * An answer from line `seq` waits until every key that began before that line
 * was reached. Otherwise a race would be won before its losers are registered.
 */
export const awaitTurn = (replays: Replays, key: string, seq: number): Effect.Effect<void> => {
  const replay = covering(replays, key)
  if (replay === undefined || !isEarlierMissing(replay, seq)) return Effect.void
  const held: HeldAnswer = { seq, turn: deferred() }
  replay.held.add(held)
  replay.changed.notify()
  return Effect.interruptible(
    Effect.ensuring(
      Effect.raceFirst(Deferred.await(held.turn), Deferred.await(replay.beyond)),
      Effect.sync(() => replay.held.delete(held))
    )
  )
}

/**
 * Makes the fibers that wait in the section, now or later, fail with its
 * recorded cause. The section has failed with it, so its callers have the type.
 */
export const failParked = ({ failure }: Replay, cause: Cause.Cause<unknown>): void =>
  Deferred.unsafeDone(failure, Effect.failCause(cause as Cause.Cause<never>))

/** Waits for the end of the replay: no step begins here. */
export const park = (replays: Replays, key: string, isKnown: boolean): Effect.Effect<never> =>
  Effect.suspend(() => {
    let innermost: Replay | undefined
    for (const replay of replays) {
      if (!key.startsWith(replay.within)) continue
      if (innermost === undefined || replay.within.length > innermost.within.length) innermost = replay
      replay.parked++
      if (!isKnown) Deferred.unsafeDone(replay.diverged, Effect.void)
      // An open step with no key missing is the end of the recorded history.
      if (!isKnown || replay.missing.size === 0) Deferred.unsafeDone(replay.beyond, Effect.void)
      replay.changed.notify()
    }
    return innermost === undefined ? never : Effect.interruptible(Deferred.await(innermost.failure))
  })

/** The same for work that is recorded, and whose result is not. */
export const parkWithoutResult = (replays: Replays, key: string): Effect.Effect<never> =>
  Effect.suspend(() => {
    for (const replay of replays) {
      if (key.startsWith(replay.within)) Deferred.unsafeDone(replay.diverged, Effect.void)
    }
    return park(replays, key, true)
  })

/** What is replayed: the fiber of a body, or the scope of a transaction. */
export interface Replayed {
  /** Null until it ends. */
  readonly unsafePoll: () => unknown
  readonly await: Effect.Effect<unknown>
}

/**
 * Waits until every key was reached, the body has ended, or the body makes no
 * more progress. Required keys get 5 seconds of patience: the program may reach
 * them after a delay of its own.
 */
export const awaitReached = (replay: Replay, body: Replayed): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (replay.missing.size === 0 || body.unsafePoll() !== null) return Effect.void
    const { next } = replay.changed
    const change = Effect.raceFirst(Deferred.await(next), Effect.asVoid(body.await))
    if (replay.parked === 0 && replay.held.size === 0) return Effect.zipRight(change, awaitReached(replay, body))
    const isDone = unreached(replay).length === 0 && replay.held.size === 0
    const limit = isDone ? yieldTurns(body, () => replay.changed.next !== next) : Effect.sleep("5 seconds")
    return Effect.flatMap(Effect.raceFirst(Effect.as(change, true), Effect.as(limit, false)), (hasChanged) =>
      hasChanged ? awaitReached(replay, body) : Effect.void
    )
  })

/** Yields up to 200 times, for a body that can end without waiting for another fiber. */
export const yieldTurns = (body: Replayed, isOver: () => boolean): Effect.Effect<void> =>
  Effect.asVoid(Effect.repeat(Effect.yieldNow(), { until: () => body.unsafePoll() !== null || isOver(), times: 200 }))
