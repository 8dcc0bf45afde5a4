import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"

/**
 * A part of the run that is only replayed, to meet again what it has done:
 * its steps answer from the journal, in the order of the journal, and none is
 * begun.
 */
export interface Replay {
  readonly within: string
  /** Keys of the journal that were not met yet, with the line they began at. */
  readonly missing: Map<string, Known>
  /** Answers that wait until everything begun before them was met. */
  readonly held: Set<Held>
  parked: number
  /** Completes with the next thing that happens. */
  changed: Deferred.Deferred<void>
  /** Completes when the program asks for something the journal does not know. */
  readonly beyond: Deferred.Deferred<void>
}

export interface Known {
  readonly order: number
  /** A rollback must meet it: it is to be undone. */
  readonly isNeeded: boolean
}

interface Held {
  readonly seq: number
  readonly answer: Deferred.Deferred<void>
}

export type Replays = Set<Replay>

const deferred = () => Deferred.unsafeMake<void>(FiberId.none)

export const make = (within: string, known: Iterable<readonly [key: string, known: Known]>): Replay => ({
  within,
  missing: new Map([...known].filter(([key]) => key.startsWith(within))),
  held: new Set(),
  parked: 0,
  changed: deferred(),
  beyond: deferred()
})

/** What was to be met and was not. */
export const neededOf = ({ missing }: Replay): ReadonlyArray<string> =>
  [...missing].filter(([, { isNeeded }]) => isNeeded).map(([key]) => key)

const tell = (replay: Replay): void => {
  const { changed } = replay
  replay.changed = deferred()
  Deferred.unsafeDone(changed, Effect.void)
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
    if (!replay.missing.delete(key)) continue
    for (const held of replay.held) {
      if (!isAhead(replay, held.seq)) Deferred.unsafeDone(held.answer, Effect.void)
    }
    tell(replay)
  }
}

const isAhead = ({ missing }: Replay, seq: number): boolean => {
  for (const { order } of missing.values()) if (order < seq) return true
  return false
}

/**
 * An answer that was given at a line of the journal waits for what had begun
 * by then: else a race would be won before its losers were met.
 */
export const inTurn = (replays: Replays, key: string, seq: number): Effect.Effect<void> => {
  const replay = find(replays, key)
  if (replay === undefined || !isAhead(replay, seq)) return Effect.void
  const held: Held = { seq, answer: deferred() }
  replay.held.add(held)
  tell(replay)
  return Effect.interruptible(
    Effect.ensuring(
      Effect.raceFirst(Deferred.await(held.answer), Deferred.await(replay.beyond)),
      Effect.sync(() => replay.held.delete(held))
    )
  )
}

/** Nothing is begun here: whoever asks waits until the replay ends. */
export const park = (replays: Replays, key: string, isKnown: boolean): Effect.Effect<never> =>
  Effect.suspend(() => {
    for (const replay of replays) {
      if (!key.startsWith(replay.within)) continue
      replay.parked++
      // An open step with nothing left to meet is as far as anybody ever came.
      if (!isKnown || replay.missing.size === 0) Deferred.unsafeDone(replay.beyond, Effect.void)
      tell(replay)
    }
    return never
  })

/** Also where nothing else can interrupt: what waits for the end of a replay must end with it. */
export const never: Effect.Effect<never> = Effect.interruptible(Effect.never)

/**
 * Waits until everything was met, or the body has ended, or nothing more is to
 * be expected of it. What a replay needs it is given some time for: it may come
 * after a delay of the program's own.
 */
export const settle = (replay: Replay, body: Fiber.RuntimeFiber<unknown, unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (replay.missing.size === 0 || body.unsafePoll() !== null) return Effect.void
    const { changed } = replay
    const next = Effect.raceFirst(Deferred.await(changed), Effect.asVoid(Fiber.await(body)))
    if (replay.parked === 0 && replay.held.size === 0) return Effect.zipRight(next, settle(replay, body))
    const isDone = neededOf(replay).length === 0 && replay.held.size === 0
    const wait = isDone ? turns(body, () => replay.changed !== changed) : Effect.sleep(patience)
    return Effect.flatMap(Effect.raceFirst(Effect.as(next, true), Effect.as(wait, false)), (goesOn) =>
      goesOn ? settle(replay, body) : Effect.void
    )
  })

const patience = "5 seconds"

/** A body that needs nobody else to end gets the turns for it. */
export const turns = (body: Fiber.RuntimeFiber<unknown, unknown>, isOver: () => boolean): Effect.Effect<void> =>
  Effect.asVoid(Effect.repeat(Effect.yieldNow(), { until: () => body.unsafePoll() !== null || isOver(), times: 200 }))
