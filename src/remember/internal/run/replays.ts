import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"

/**
 * A part of the run that is only replayed, to meet again what it has done:
 * its steps answer from the journal, and none is begun.
 */
export interface Replay {
  readonly within: string
  /** Completes when every key the journal knows there was met. */
  readonly met: Deferred.Deferred<void>
  /** Keys of the journal that were not met yet. */
  readonly missing: Set<string>
  /** Completes when the program asks for something the journal does not know. */
  readonly beyond: Deferred.Deferred<void>
}

export type Replays = Set<Replay>

export const make = (within: string, keys: Iterable<string>): Replay => {
  const missing = new Set([...keys].filter((key) => key.startsWith(within)))
  const deferred = () => Deferred.unsafeMake<void>(FiberId.none)
  const replay = { within, missing, met: deferred(), beyond: deferred() }
  if (missing.size === 0) Deferred.unsafeDone(replay.met, Effect.void)
  return replay
}

/** Whether a key may not be begun, since it lies where nothing is but replayed. */
export const find = (replays: Replays, key: string): Replay | undefined => {
  if (replays.size === 0) return undefined
  for (const replay of replays) if (key.startsWith(replay.within)) return replay
  return undefined
}

/** What has this key is known again, with its compensation if it has one. */
export const meet = (replays: Replays, key: string): void => {
  if (replays.size === 0) return
  for (const replay of replays) {
    if (replay.missing.delete(key) && replay.missing.size === 0) Deferred.unsafeDone(replay.met, Effect.void)
  }
}

/** Nothing is begun here: whoever asks waits until the replay ends. */
export const park = (replay: Replay, isKnown: boolean): Effect.Effect<never> =>
  Effect.suspend(() => {
    if (!isKnown) Deferred.unsafeDone(replay.beyond, Effect.void)
    return Effect.never
  })
