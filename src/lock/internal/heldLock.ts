import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Runtime from "effect/Runtime"
import * as Schedule from "effect/Schedule"
import { after } from "../../resilience/internal/protect/attemptTimeout.js"
import type { Grip, HeldLock, Name } from "../Lock.js"
import { LockError, LockLost } from "../LockError.js"
import { format } from "./names.js"

/** A lock that was acquired, until it is given back. */
export interface Taken {
  readonly key: string
  readonly held: HeldLock
  /** Calls back if it is lost; answers how to prevent it. */
  readonly onLost: (listener: () => void) => () => void
  over: boolean
  /** Whether it was still held. */
  readonly release: Effect.Effect<boolean>
}

const living = (all: ReadonlyArray<Taken>): ReadonlyArray<Taken> => all.filter(({ over }) => !over)

/** What the fiber holds, and whoever forked it: asking for it again would never end. */
const mine = globalValue("effect-recovery/Lock/mine", () =>
  FiberRef.unsafeMake<ReadonlyArray<Taken>>([], {
    // What a fiber has acquired is held by whoever waited for it, beside what that held already.
    join: (ours, theirs) => living([...new Set([...ours, ...theirs])])
  })
)

export const refuseAgain = (key: string, name: Name): Effect.Effect<void, LockError> =>
  Effect.flatMap(FiberRef.get(mine), (all) =>
    living(all).some((taken) => taken.key === key)
      ? Effect.fail(new LockError({ reason: "Reentrant", lock: format(name) }))
      : Effect.void
  )

export interface ToTake {
  readonly key: string
  readonly name: Name
  readonly grip: Grip
  /** When it was asked for, in nanoseconds: since then it is certainly held. */
  readonly since: bigint
  readonly heartbeat: number
  readonly patience: number
  /** Lets the next one of this process ask. */
  readonly leave: () => void
}

/** Who wants to know of a loss, and whether there was one. */
class Loss {
  private readonly listeners = new Set<() => void>()
  isTold = false

  readonly tell = (): void => {
    if (this.isTold) return
    this.isTold = true
    for (const listener of [...this.listeners]) listener()
  }

  /** Calls back once, at once if it is known; answers how to prevent it. */
  readonly onTold = (listener: () => void): (() => void) => {
    if (this.isTold) listener()
    else this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }
}

/** Nothing is paid for heartbeats before the first of them is due: most locks are given back by then. */
export const take = ({ grip, heartbeat, key, leave, name, patience, since }: ToTake): Effect.Effect<Taken> =>
  Effect.withFiberRuntime((fiber) => {
    const clock = Context.get(fiber.getFiberRef(DefaultServices.currentServices), Clock.Clock)
    const lock = format(name)
    const error = () => new LockLost({ lock, token: grip.token })
    const loss = new Loss()
    let renewed = since
    let isGivenBack = false
    /** Made by whoever renews first: most locks are given back before. */
    let renewals: Effect.Semaphore | undefined

    const renewOnce = Effect.suspend(() => {
      const started = clock.unsafeCurrentTimeNanos()
      return Effect.match(grip.renew, {
        onSuccess: (ours) => {
          if (ours) renewed = started
          return ours
        },
        onFailure: () => millisSince(renewed, clock) < patience
      })
    })
    /** False, if it is lost; one that cannot be renewed is not lost before its time is over. */
    const renew = Effect.suspend(() => {
      renewals ??= Effect.unsafeMakeSemaphore(1)
      return renewals.withPermits(1)(renewOnce)
    })
    const letGo = Effect.suspend(() => (renewals === undefined ? grip.release : renewals.withPermits(1)(grip.release)))
    // Not cut short: half a heartbeat could look like the loss of the lock.
    const beats = Effect.repeat(Effect.uninterruptible(renew), {
      while: (ours) => ours,
      schedule: Schedule.spaced(heartbeat)
    }).pipe(Effect.zipRight(Effect.sync(loss.tell)))

    /** A renewal may take for ever, and the lock is lost all the same. */
    const watch: Effect.Effect<void> = Effect.suspend(() => {
      const left = patience - millisSince(renewed, clock)
      return left <= 0 ? Effect.sync(loss.tell) : Effect.zipRight(Effect.sleep(left), watch)
    })

    const runtime = Runtime.make({
      context: fiber.currentContext,
      fiberRefs: fiber.getFiberRefs(),
      runtimeFlags: Runtime.defaultRuntimeFlags
    })
    const fork = <A>(effect: Effect.Effect<A>) => Runtime.runFork(runtime, effect)
    let beating: Fiber.Fiber<unknown> | undefined
    let watching: Fiber.RuntimeFiber<unknown> | undefined
    const keepWatch = () => {
      if (Number.isFinite(patience)) watching ??= fork(watch)
    }
    const disarm = after(fiber, heartbeat, () => {
      beating = fork(beats)
      keepWatch()
    })

    const check = Effect.flatMap(
      Effect.suspend(() => (taken.over || isGivenBack ? Effect.succeed(false) : Effect.uninterruptible(renew))),
      (ours) => {
        if (ours) return Effect.void
        loss.tell()
        return Effect.failSync(error)
      }
    )

    const giveBack = Effect.suspend(() => {
      disarm()
      isGivenBack = true
      // One that cannot be given back runs out, or ends with its process.
      const release = Effect.orElseSucceed(letGo, () => true)
      return beating === undefined ? release : Effect.zipRight(Fiber.interrupt(beating), release)
    })
    /** A lock that is lost is not waited for: it may hang for the same reason. */
    const unlessLost = Effect.suspend(() => {
      keepWatch()
      const giving = fork(giveBack)
      return Effect.async<boolean>((resume) => {
        const forget = loss.onTold(() => resume(Effect.succeed(false)))
        giving.addObserver((exit) => {
          forget()
          resume(exit)
        })
      })
    })
    const release = Effect.suspend(() => {
      const wasLost = loss.isTold
      return Effect.flatMap(Number.isFinite(patience) ? unlessLost : giveBack, (ours) => {
        taken.over = true
        leave()
        watching?.unsafeInterruptAsFork(fiber.id())
        return Effect.as(FiberRef.update(mine, living), ours && !wasLost)
      })
    })

    const lost = Effect.async<never, LockLost>((resume) => {
      const forget = loss.onTold(() => resume(Effect.failSync(error)))
      return Effect.sync(forget)
    })
    const taken: Taken = {
      key,
      held: { lock, token: grip.token, check, lost },
      onLost: loss.onTold,
      over: false,
      release
    }
    return Effect.as(
      FiberRef.update(mine, (all) => [...living(all), taken]),
      taken
    )
  })

/** By a clock that nobody puts back. */
export const millisSince = (nanos: bigint, clock: Clock.Clock): number =>
  Number(clock.unsafeCurrentTimeNanos() - nanos) / 1e6
