import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import type { Signal } from "../../../storage/Storage.js"
import { RunSuspended, type Waiting } from "../../RunError.js"
import { inOrder } from "../execution/answerQueue.js"
import type { LiveRun } from "../execution/execution.js"
import type { WaitEnd } from "../journal/waitLine.js"

/** What an execution waits for, and what of it still goes on by itself. */
export interface Waits {
  /** Steps that run. */
  busy: number
  readonly parked: Map<string, Parked>
  /** What the run was told, by key. */
  signals: ReadonlyMap<string, Signal>
  /** How many signals it knows of. */
  seen: number
  /** Counts what happens, to tell whether something has. */
  tick: number
  /** Completes with the next thing that happens, if somebody waits for that. */
  changed: Deferred.Deferred<void> | undefined
  watcher: Fiber.RuntimeFiber<void> | undefined
  unlisten: () => void
  /** The body has ended: who waits now waits for nothing. */
  isOver: boolean
}

/** A fiber of the body that can only go on by a signal, or when a time has come. */
interface Parked {
  readonly kind: Waiting["kind"]
  /** The signal it waits for. */
  readonly signal: string | undefined
  readonly until: number | undefined
  /** What is told about it; nothing of one that only leaves. */
  readonly waiting: Waiting | undefined
  readonly answer: Deferred.Deferred<Signal>
}

export const makeWaits = (): Waits => ({
  busy: 0,
  parked: new Map(),
  signals: new Map(),
  seen: 0,
  tick: 0,
  changed: undefined,
  watcher: undefined,
  unlisten: () => {},
  isOver: false
})

/** Something happened: whoever waits for that looks again. */
const touch = ({ waits }: LiveRun): void => {
  waits.tick++
  const { changed } = waits
  waits.changed = undefined
  if (changed !== undefined) Deferred.unsafeDone(changed, Effect.void)
}

export const begin = (live: LiveRun): void => {
  live.waits.busy++
}

export const end = (live: LiveRun): void => {
  live.waits.busy--
  if (live.waits.parked.size > 0) touch(live)
}

/** What a fiber of the body does beside its steps: the run is not left in the middle of it. */
export const working = <A, E, R>(live: LiveRun, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => begin(live)),
    () => self,
    () => Effect.sync(() => end(live))
  )

/** What a node of a graph holds while it works. */
export interface Permit {
  readonly release: Effect.Effect<unknown>
  readonly take: Effect.Effect<unknown>
}

/** What a step waits for is not its work, and keeps no other node from working. */
export const resting = <A, E, R>(
  live: LiveRun,
  permit: Permit | undefined,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.zipRight(
      Effect.sync(() => end(live)),
      permit?.release ?? Effect.void
    ),
    () => self,
    () =>
      Effect.zipRight(
        Effect.sync(() => begin(live)),
        permit?.take ?? Effect.void
      )
  )

type ToPark = Omit<Parked, "answer">

/**
 * Waits until it was told, or its time has come. If nothing else goes on in
 * this execution, the run is suspended, and nobody comes back from here.
 */
export const park = (live: LiveRun, key: string, wait: ToPark): Effect.Effect<WaitEnd> =>
  Effect.suspend(() => {
    const { parked } = live.waits
    const mine: Parked = { ...wait, answer: Deferred.unsafeMake(FiberId.none) }
    const told = Effect.map(Deferred.await(mine.answer), ({ payload }): WaitEnd => ({ payload }))
    const whole = wait.until === undefined ? told : Effect.raceFirst(told, elapsed(live, wait, wait.until))
    // What ends now ends after all that is in the journal.
    const turn = live.journal.lastSeq === 0 ? Effect.void : inOrder(live.inOrder, Number.POSITIVE_INFINITY)
    return Effect.acquireUseRelease(
      Effect.suspend(() => {
        parked.set(key, mine)
        touch(live)
        return watch(live)
      }),
      () => Effect.interruptible(Effect.zipRight(turn, whole)),
      () =>
        Effect.sync(() => {
          parked.delete(key)
          touch(live)
        })
    )
  })

/** What was said in time counts, however late it is heard. */
const elapsed = (live: LiveRun, { signal }: ToPark, until: number): Effect.Effect<WaitEnd> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.zipRight(
      longSleep(until - now),
      signal === undefined
        ? Effect.succeed({})
        : Effect.map(refresh(live), () => {
            const told = live.waits.signals.get(signal)
            return told !== undefined && told.at <= until ? { payload: told.payload } : {}
          })
    )
  )

/** Reads what the run was told meanwhile. */
const refresh = (live: LiveRun): Effect.Effect<void> =>
  Effect.matchEffect(live.storage.signals(live.lease.key), {
    onFailure: (error) => {
      live.stopped ??= error
      live.halt()
      // Nobody goes on from here as if there had been nothing to read.
      return Effect.interruptible(Effect.never)
    },
    onSuccess: (signals) =>
      Effect.sync(() => {
        live.waits.seen = signals.length
        live.waits.signals = new Map(signals.map((signal) => [signal.key, signal]))
      })
  })

/** One that waits for a short time only is held in memory. */
const isHeld = ({ how }: LiveRun, { kind, until }: Parked, now: number): boolean =>
  kind === "sleep" && until !== undefined && until - now <= how.patience && !how.isLeaving()

const isIdle = (live: LiveRun, now: number): boolean => {
  const { busy, parked } = live.waits
  if (busy > 0 || live.open.size > 0 || parked.size === 0) return false
  for (const one of parked.values()) if (isHeld(live, one, now)) return false
  return true
}

/** Begins with the first wait: a run that waits for nothing has no watcher. */
const watch = (live: LiveRun): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { waits } = live
    if (waits.watcher !== undefined || waits.isOver) return Effect.void
    waits.unlisten = live.storage.onChange((run) => {
      if (run === live.id) touch(live)
    })
    return Effect.map(Effect.forkDaemon(Effect.interruptible(look(live))), (fiber) => {
      waits.watcher = fiber
    })
  })

export const unwatch = ({ waits }: LiveRun): void => {
  waits.isOver = true
  waits.unlisten()
  waits.watcher?.unsafeInterruptAsFork(FiberId.none)
}

const look = (live: LiveRun): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { waits } = live
    while (live.stopped === undefined && !live.rewinding) {
      const { tick } = waits
      yield* refresh(live)
      deliver(live)
      // The body goes as far as it goes by itself.
      yield* turns
      const now = yield* Clock.currentTimeMillis
      if (waits.tick === tick && isIdle(live, now)) return suspend(live, now)
      if (waits.tick === tick) yield* nextLook(live)
    }
  })

/** What other processes tell the run while it goes on nobody hears: it is looked for. */
const nextLook = ({ how, waits }: LiveRun): Effect.Effect<void> => {
  const changed = waits.changed ?? Deferred.unsafeMake<void>(FiberId.none)
  waits.changed = changed
  const canBeTold = [...waits.parked.values()].some(({ signal }) => signal !== undefined)
  const heard = Deferred.await(changed)
  return canBeTold || Number.isFinite(how.patience) ? Effect.raceFirst(heard, Effect.sleep("1 second")) : heard
}

/** Tells those that wait what there is to tell. */
const deliver = ({ waits }: LiveRun): void => {
  for (const [key, { answer, signal, until }] of waits.parked) {
    const found = signal === undefined ? undefined : waits.signals.get(signal)
    if (found === undefined || (until !== undefined && found.at > until)) continue
    waits.parked.delete(key)
    waits.tick++
    Deferred.unsafeDone(answer, Effect.succeed(found))
  }
}

const turn = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 0)))
const turns = Effect.repeatN(turn, 2)

/** Nothing goes on any more without a signal, or before a time. */
const suspend = (live: LiveRun, now: number): void => {
  const waits = [...live.waits.parked.values()]
  const times = waits.flatMap(({ until }) => (until === undefined ? [] : [until]))
  const isLeaving = live.how.isLeaving()
  const until = isLeaving ? now : times.length === 0 ? undefined : Math.min(...times)
  live.stopped ??= new RunSuspended({
    run: live.id,
    waits: waits.flatMap(({ waiting }) => (waiting === undefined ? [] : [waiting])),
    until: Option.map(Option.fromNullable(until), (millis) => new Date(millis))
  })
  live.halt()
}
