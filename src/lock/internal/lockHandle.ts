import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Runtime from "effect/Runtime"
import * as Schedule from "effect/Schedule"
import { logged } from "../../resilience/internal/kernel/logged.js"
import { startTimer } from "../../resilience/internal/kernel/timer.js"
import { format, type Grip, type HeldLock, type Name } from "../LockDriver.js"
import { LockError, LockLost } from "../LockError.js"

export interface Acquisition {
  readonly key: string
  readonly name: Name
  readonly grip: Grip
  /** When the successful attempt began, in nanoseconds. Patience counts from here, since the driver granted it later. */
  readonly since: bigint
  readonly heartbeat: number
  readonly patience: number
  /** Lets the next caller of this process attempt the lock. */
  readonly leave: () => void
}

/** Registers a lock that was just acquired with the current fiber. */
export const makeHandle = (acquisition: Acquisition): Effect.Effect<LockHandle> =>
  Effect.withFiberRuntime((fiber) => {
    const handle = new LockHandle(acquisition, fiber)
    return Effect.as(
      FiberRef.update(handlesOfFiber, (all) => [...unreleased(all), handle]),
      handle
    )
  })

/** The locks of a fiber and of its ancestors: acquiring one of them again would never end. */
const handlesOfFiber = globalValue("effect-recovery/Lock/handlesOfFiber", () =>
  FiberRef.unsafeMake<ReadonlyArray<LockHandle>>([], {
    // Joining a fiber transfers the locks that it acquired to the joiner.
    join: (own, joined) => unreleased([...new Set([...own, ...joined])])
  })
)

const unreleased = (all: ReadonlyArray<LockHandle>): ReadonlyArray<LockHandle> =>
  all.filter(({ isReleased }) => !isReleased)

export const failIfReentrant = (key: string, name: Name): Effect.Effect<void, LockError> =>
  Effect.flatMap(FiberRef.get(handlesOfFiber), (all) =>
    unreleased(all).some((handle) => handle.key === key)
      ? Effect.fail(new LockError({ reason: "Reentrant", lock: format(name) }))
      : Effect.void
  )

/** Milliseconds since a monotonic time: changes of the system clock do not count. */
export const millisSince = (nanos: bigint, clock: Clock.Clock): number =>
  Number(clock.unsafeCurrentTimeNanos() - nanos) / 1e6

/** Notifies listeners once that the lock is lost. */
class LossSignal {
  private readonly listeners = new Set<() => void>()
  isRaised = false

  readonly raise = (): void => {
    if (this.isRaised) return
    this.isRaised = true
    for (const listener of [...this.listeners]) listener()
  }

  /** Calls the listener once, at once if the signal is already raised. Returns how to unsubscribe. */
  onRaised(listener: () => void): () => void {
    if (this.isRaised) listener()
    else this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }
}

/**
 * An acquired lock until its release: renews it, detects its loss, releases it.
 * Most locks are released before the first heartbeat is due, so the semaphore
 * and the fibers for renewals are created only then.
 */
export class LockHandle {
  readonly key: string
  readonly held: HeldLock
  readonly loss = new LossSignal()
  isReleased = false
  private isReleasing = false
  private renewedAt: bigint
  private oneAtATime: Effect.Semaphore | undefined
  private heartbeats: Fiber.Fiber<unknown> | undefined
  private watchdog: Fiber.RuntimeFiber<unknown> | undefined
  private readonly acquisition: Acquisition
  private readonly clock: Clock.Clock
  private readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
  private readonly fork: <A>(effect: Effect.Effect<A>) => Fiber.RuntimeFiber<A>
  private readonly cancelHeartbeats: () => void

  constructor(acquisition: Acquisition, fiber: Fiber.RuntimeFiber<unknown, unknown>) {
    this.acquisition = acquisition
    this.key = acquisition.key
    this.held = { lock: format(acquisition.name), token: acquisition.grip.token, check: this.check, lost: this.lost }
    this.renewedAt = acquisition.since
    this.fiber = fiber
    this.clock = Context.get(fiber.getFiberRef(DefaultServices.currentServices), Clock.Clock)
    const fiberRefs = fiber.getFiberRefs()
    const runtimeFlags = Runtime.defaultRuntimeFlags
    const runtime = Runtime.make({ context: fiber.currentContext, fiberRefs, runtimeFlags })
    this.fork = (effect) => Runtime.runFork(runtime, effect)
    this.cancelHeartbeats = startTimer(fiber, acquisition.heartbeat, () => {
      this.heartbeats = this.fork(this.renewUntilLost)
      this.startWatchdog()
    })
  }

  private readonly lostError = () => new LockLost({ lock: this.held.lock, token: this.held.token })

  /** Returns false if the lock is lost. A failed renewal counts as a loss only after `patience`. */
  private readonly renewOnce: Effect.Effect<boolean> = Effect.suspend(() => {
    const started = this.clock.unsafeCurrentTimeNanos()
    return Effect.matchCause(this.acquisition.grip.renew, {
      onSuccess: (isHeld) => {
        if (isHeld) this.renewedAt = started
        return isHeld
      },
      onFailure: () => millisSince(this.renewedAt, this.clock) < this.acquisition.patience
    })
  })

  /** Uninterruptible, since half a renewal could look like a loss. */
  private readonly renew: Effect.Effect<boolean> = Effect.suspend(() => {
    this.oneAtATime ??= Effect.unsafeMakeSemaphore(1)
    return Effect.uninterruptible(this.oneAtATime.withPermits(1)(this.renewOnce))
  })

  private readonly renewUntilLost: Effect.Effect<void> = Effect.suspend(() =>
    Effect.repeat(this.renew, {
      while: (isHeld) => isHeld,
      schedule: Schedule.spaced(this.acquisition.heartbeat)
    })
  ).pipe(Effect.zipRight(Effect.sync(() => this.loss.raise())))

  /** Raises the loss when `patience` is over, even while a renewal hangs. */
  private readonly watch: Effect.Effect<void> = Effect.suspend(() => {
    const remaining = this.acquisition.patience - millisSince(this.renewedAt, this.clock)
    return remaining <= 0 ? Effect.sync(this.loss.raise) : Effect.zipRight(Effect.sleep(remaining), this.watch)
  })

  private startWatchdog(): void {
    if (Number.isFinite(this.acquisition.patience)) this.watchdog ??= this.fork(this.watch)
  }

  private readonly check: Effect.Effect<void, LockLost> = Effect.flatMap(
    Effect.suspend(() => (this.isReleased || this.isReleasing ? Effect.succeed(false) : this.renew)),
    (isHeld) => {
      if (isHeld) return Effect.void
      this.loss.raise()
      return Effect.failSync(this.lostError)
    }
  )

  private readonly lost: Effect.Effect<never, LockLost> = Effect.async((resume) => {
    const unsubscribe = this.loss.onRaised(() => resume(Effect.failSync(this.lostError)))
    return Effect.sync(unsubscribe)
  })

  private readonly stopAndRelease: Effect.Effect<boolean> = Effect.suspend(() => {
    this.cancelHeartbeats()
    this.isReleasing = true
    const { grip } = this.acquisition
    const release = this.oneAtATime === undefined ? grip.release : this.oneAtATime.withPermits(1)(grip.release)
    // A lock whose release fails expires, or ends with the process.
    const released = Effect.catchAllCause(release, (cause) =>
      Cause.isDie(cause)
        ? Effect.as(logged(Effect.failCause(cause), "the release of a lock died"), true)
        : Effect.succeed(true)
    )
    return this.heartbeats === undefined ? released : Effect.zipRight(Fiber.interrupt(this.heartbeats), released)
  })

  /** Stops waiting when the lock is lost: the release may hang for the same reason. */
  private readonly releaseUnlessLost: Effect.Effect<boolean> = Effect.suspend(() => {
    this.startWatchdog()
    const releasing = this.fork(this.stopAndRelease)
    return Effect.async<boolean>((resume) => {
      const unsubscribe = this.loss.onRaised(() => resume(Effect.succeed(false)))
      releasing.addObserver((exit) => {
        unsubscribe()
        resume(exit)
      })
    })
  })

  /** Returns whether the lock was still held. */
  readonly release: Effect.Effect<boolean> = Effect.suspend(() => {
    const wasLost = this.loss.isRaised
    const { leave, patience } = this.acquisition
    return Effect.flatMap(Number.isFinite(patience) ? this.releaseUnlessLost : this.stopAndRelease, (wasHeld) => {
      this.isReleased = true
      leave()
      this.watchdog?.unsafeInterruptAsFork(this.fiber.id())
      return Effect.as(FiberRef.update(handlesOfFiber, unreleased), wasHeld && !wasLost)
    })
  })
}
