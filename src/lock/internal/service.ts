import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { clip } from "../../resilience/Foreign.js"
import { checkedNames } from "../../resilience/InvalidName.js"
import { interruptWhen } from "../../resilience/internal/kernel/attemptTimeout.js"
import { FifoQueue } from "../../resilience/internal/kernel/fifoQueue.js"
import { lockMetrics } from "../../resilience/internal/kernel/metrics.js"
import { age, checked, millis, millisOrInfinity } from "../../resilience/internal/kernel/options.js"
import type { Restore } from "../../storage/Storage.js"
import type { Options, Service } from "../Lock.js"
import { type Driver, format, type Grip, Held, type Name } from "../LockDriver.js"
import { LockError, LockLost, type LockStatus, LockTimeout } from "../LockError.js"
import { failIfReentrant, type LockHandle, makeHandle, millisSince } from "./lockHandle.js"

export const make = (driver: Driver): Service => {
  const acquire = acquireWith(driver)
  const timeoutOf = (options: Options | undefined) => millisOrInfinity("timeout", options?.timeout ?? "30 seconds")
  const scoped = (name: Name | string, options: Options | undefined) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.acquireRelease(acquire(name, timeoutOf(options), restore), ({ release }) => release)
    ).pipe(Effect.map(({ held }) => held))
  return {
    acquire: scoped,
    acquireIfAvailable: (name) => noneIfBusy(scoped(name, { timeout: 0 })),
    withLock: (self, name, options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(acquire(name, timeoutOf(options), restore), (handle) => protect(self, handle, restore))
      ),
    withLockIfAvailable: (self, name) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(
          noneIfBusy(acquire(name, 0, restore)),
          Option.match({
            onNone: () => Effect.succeedNone,
            onSome: (handle) => Effect.asSome(protect(self, handle, restore))
          })
        )
      ),
    status: (given) => {
      const name = toName(given)
      return Effect.flatMap(keyOf(driver, name), (key) => driver.status(key, name))
    },
    list: driver.list,
    cleanup: (olderThan) =>
      Effect.flatMap(
        checked(() => age("olderThan", olderThan)),
        driver.cleanup
      )
  }
}

const toName = (name: Name | string): Name => (typeof name === "string" ? { kind: "lock", id: name } : name)

const keyOf = (driver: Driver, name: Name): Effect.Effect<string, LockError> =>
  Effect.matchEffect(
    checkedNames(
      [
        ["lock's kind", name.kind],
        ["lock", name.id]
      ],
      undefined
    ),
    {
      onFailure: (cause) => Effect.fail(new LockError({ reason: "Name", lock: clip(format(name), 80), cause })),
      onSuccess: () => driver.keyOf(name)
    }
  )

const noneIfBusy = <A, R>(
  acquired: Effect.Effect<A, LockTimeout | LockError, R>
): Effect.Effect<Option.Option<A>, LockError, R> =>
  acquired.pipe(
    Effect.asSome,
    Effect.catchTag("LockTimeout", () => Effect.succeedNone)
  )

/** Runs the effect with the lock, interrupts it if the lock is lost, and releases the lock. */
const protect = <A, E, R>(self: Effect.Effect<A, E, R>, { held, loss, release }: LockHandle, restore: Restore) => {
  const lost = () => new LockLost({ lock: held.lock, token: held.token })
  const inside = interruptWhen(
    Effect.provideService(self, Held, held),
    (_, interrupt) => loss.onRaised(interrupt),
    lost
  )
  return Effect.flatMap(Effect.exit(restore(inside)), (exit) =>
    Effect.flatMap(release, (wasHeld) => (Exit.isSuccess(exit) && !wasHeld ? Effect.failSync(lost) : exit))
  )
}

/** Acquires locks of a driver. The returned function runs in an uninterruptible region; only `restore` is interruptible. */
const acquireWith = (driver: Driver) => {
  const heartbeat = millisOrInfinity("heartbeat", driver.heartbeat, 1)
  const patience = millisOrInfinity("patience", driver.patience, 1)
  const longestDelay = millis("poll", driver.poll, 1)
  const queues = new LocalQueues()

  return (given: Name | string, timeoutMillis: number, restore: Restore) =>
    Effect.gen(function* () {
      const name = toName(given)
      const clock = yield* Effect.clock
      const started = clock.unsafeCurrentTimeNanos()
      const waited = () => millisSince(started, clock)
      // A clock that is set back must not turn an attempt without a timeout into one that waits.
      const remaining = () => (timeoutMillis === 0 ? 0 : timeoutMillis - waited())
      const count = lockMetrics(name.kind)
      const timedOut = (status: LockStatus) => {
        count("timeout", waited())
        const limit = Duration.millis(timeoutMillis)
        return new LockTimeout({ lock: format(name), limit, waited: Duration.millis(waited()), status })
      }
      const key = yield* restore(keyOf(driver, name))
      yield* failIfReentrant(key, name)
      const entered = yield* queues.enter(key, remaining(), restore)
      if (Option.isNone(entered)) return yield* timedOut(yield* restore(driver.status(key, name)))
      const leave = entered.value
      const polled = poll({ driver, key, name, restore, longestDelay, remaining })
      const { grip, since } = yield* Effect.mapError(
        Effect.onError(polled, () => Effect.sync(leave)),
        (error) => ("_tag" in error ? error : timedOut(error))
      )
      count("acquired", waited())
      return yield* makeHandle({ key, name, grip, since, heartbeat, patience, leave })
    })
}

/** Queues the callers of this process by key, so that one caller per key polls the driver, in FIFO order. */
class LocalQueues {
  private readonly queues = new Map<string, FifoQueue>()

  /** Waits for the earlier callers. Returns a function that leaves the queue, or none if the timeout passes first. */
  enter(key: string, timeoutMillis: number, restore: Restore): Effect.Effect<Option.Option<() => void>> {
    return Effect.suspend(() => {
      const queue = this.queues.get(key) ?? new FifoQueue(1)
      this.queues.set(key, queue)
      const leave = () => {
        queue.release()
        this.deleteIfEmpty(key, queue)
      }
      if (queue.tryAcquire()) return Effect.succeedSome(leave)
      if (timeoutMillis <= 0) return Effect.succeedNone
      const waiter = queue.enqueue()
      // The timeout must also end the wait in an uninterruptible region.
      const wait = Number.isFinite(timeoutMillis)
        ? Effect.timeoutOption(Effect.interruptible(waiter.wait), timeoutMillis)
        : Effect.asSome(waiter.wait)
      return Effect.flatMap(Effect.exit(restore(wait)), (exit) => {
        if (Exit.isSuccess(exit) && Option.isSome(exit.value)) return Effect.succeedSome(leave)
        queue.cancel(waiter)
        this.deleteIfEmpty(key, queue)
        return Exit.map(exit, () => Option.none())
      })
    })
  }

  /** Bounds the memory to keys in use. */
  private deleteIfEmpty(key: string, queue: FifoQueue): void {
    if (queue.running === 0 && this.queues.get(key) === queue) this.queues.delete(key)
  }
}

interface Polling {
  readonly driver: Driver
  readonly key: string
  readonly name: Name
  readonly restore: Restore
  /** The longest delay between two attempts, in milliseconds. */
  readonly longestDelay: number
  /** Milliseconds until the timeout. */
  readonly remaining: () => number
}

/** Repeats attempts, with jitter and doubling delays, until the lock is acquired or the time is over. */
const poll = (
  polling: Polling,
  delay = 1
): Effect.Effect<{ readonly grip: Grip; readonly since: bigint }, LockError | LockStatus> =>
  Effect.clockWith((clock) => {
    const { driver, key, longestDelay, name, restore } = polling
    const since = clock.unsafeCurrentTimeNanos()
    return Effect.flatMap(driver.attempt(key, name, restore), (attempt) => {
      if (attempt._tag === "Acquired") return Effect.succeed({ grip: attempt.grip, since })
      const remaining = polling.remaining()
      if (remaining <= 0) return Effect.fail(attempt.status)
      return Effect.flatMap(Random.next, (random) =>
        Effect.zipRight(
          restore(Effect.sleep(Math.min(remaining, delay * (0.5 + random / 2)))),
          poll(polling, Math.min(delay * 2, longestDelay))
        )
      )
    })
  })
