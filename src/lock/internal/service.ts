import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { forLock } from "../../resilience/internal/observe/metrics.js"
import { stoppedBy } from "../../resilience/internal/protect/attemptTimeout.js"
import { Line } from "../../resilience/internal/protect/fifoQueue.js"
import type { Restore } from "../../storage/Storage.js"
import type { Driver, Grip, Name, Options, Service } from "../Lock.js"
import { type LockError, LockLost, type LockStatus, LockTimeout } from "../LockError.js"
import { Held } from "./held.js"
import { millisSince, refuseAgain, type Taken, take } from "./heldLock.js"
import { format, toName } from "./names.js"

export const make = (driver: Driver): Service => {
  const heartbeat = Duration.toMillis(driver.heartbeat)
  const patience = Duration.toMillis(driver.patience)
  const longest = Duration.toMillis(driver.poll)
  const lines = new Map<string, Line>()

  const lineOf = (key: string): Line => {
    const line = lines.get(key) ?? new Line(1)
    lines.set(key, line)
    return line
  }

  /** Nothing remembers a name that nobody wants. */
  const forget = (key: string, line: Line) => {
    if (line.running === 0 && lines.get(key) === line) lines.delete(key)
  }

  /** Waits for those of this process that came before; none, if the time was over first. */
  const enter = (key: string, left: number, restore: Restore): Effect.Effect<Option.Option<() => void>> =>
    Effect.suspend(() => {
      const line = lineOf(key)
      const leave = () => {
        line.leave()
        forget(key, line)
      }
      if (line.tryEnter()) return Effect.succeedSome(leave)
      if (left <= 0) return Effect.succeedNone
      const turn = line.queue()
      // The time is over also where nothing else could interrupt.
      const wait = Number.isFinite(left)
        ? Effect.timeoutOption(Effect.interruptible(turn.wait), left)
        : Effect.asSome(turn.wait)
      return Effect.flatMap(Effect.exit(restore(wait)), (exit) => {
        if (Exit.isSuccess(exit) && Option.isSome(exit.value)) return Effect.succeedSome(leave)
        line.giveUp(turn)
        forget(key, line)
        return Exit.map(exit, () => Option.none())
      })
    })

  /** Asks until the lock is there or the time is over. Called where nothing can interrupt. */
  const poll = (
    key: string,
    name: Name,
    remaining: () => number,
    restore: Restore,
    delay = 1
  ): Effect.Effect<{ readonly grip: Grip; readonly since: bigint }, LockError | LockStatus> =>
    Effect.clockWith((clock) => {
      const since = clock.unsafeCurrentTimeNanos()
      return Effect.flatMap(driver.attempt(key, name, restore), (attempt) => {
        if (attempt._tag === "Acquired") return Effect.succeed({ grip: attempt.grip, since })
        const left = remaining()
        if (left <= 0) return Effect.fail(attempt.status)
        return Effect.flatMap(Random.next, (random) =>
          Effect.zipRight(
            restore(Effect.sleep(Math.min(left, delay * (0.5 + random / 2)))),
            poll(key, name, remaining, restore, Math.min(delay * 2, longest))
          )
        )
      })
    })

  const acquire = (given: Name | string, timeoutMillis: number, restore: Restore) =>
    Effect.gen(function* () {
      const name = toName(given)
      const clock = yield* Effect.clock
      const started = clock.unsafeCurrentTimeNanos()
      const waited = () => millisSince(started, clock)
      const count = forLock(name.kind)
      const toTimeout = (status: LockStatus) => {
        count("timeout", waited())
        return new LockTimeout({ lock: format(name), waited: Duration.millis(waited()), status })
      }
      const key = yield* restore(driver.keyOf(name))
      yield* refuseAgain(key, name)
      const entered = yield* enter(key, timeoutMillis - waited(), restore)
      if (Option.isNone(entered)) return yield* toTimeout(yield* restore(driver.status(key, name)))
      const leave = entered.value
      const polled = poll(key, name, () => timeoutMillis - waited(), restore)
      const { grip, since } = yield* Effect.mapError(
        Effect.onError(polled, () => Effect.sync(leave)),
        (error) => ("_tag" in error ? error : toTimeout(error))
      )
      count("acquired", waited())
      return yield* take({ key, name, grip, since, heartbeat, patience, leave })
    })

  const acquireIfAvailable = (given: Name | string, restore: Restore): Effect.Effect<Option.Option<Taken>, LockError> =>
    acquire(given, 0, restore).pipe(
      Effect.asSome,
      Effect.catchTag("LockTimeout", () => Effect.succeedNone)
    )

  /** The effect while it holds the lock, stopped when that is lost. */
  const during = <A, E, R>(self: Effect.Effect<A, E, R>, { held, onLost, release }: Taken, restore: Restore) => {
    const lost = () => new LockLost({ lock: held.lock, token: held.token })
    const inside = stoppedBy(Effect.provideService(self, Held, held), (_, ring) => onLost(ring), lost)
    return Effect.flatMap(Effect.exit(restore(inside)), (exit) =>
      Effect.flatMap(release, (ours) => (Exit.isSuccess(exit) && !ours ? Effect.failSync(lost) : exit))
    )
  }

  const scoped = <A, E>(
    acquired: (restore: Restore) => Effect.Effect<A, E>,
    takenOf: (acquired: A) => Taken | undefined
  ): Effect.Effect<A, E, Scope.Scope> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.tap(acquired(restore), (value) => {
        const taken = takenOf(value)
        return taken === undefined ? Effect.void : Effect.addFinalizer(() => taken.release)
      })
    )

  return {
    acquire: (name, options) =>
      Effect.map(
        scoped(
          (restore) => acquire(name, timeoutOf(options), restore),
          (taken) => taken
        ),
        ({ held }) => held
      ),
    acquireIfAvailable: (name) =>
      Effect.map(
        scoped((restore) => acquireIfAvailable(name, restore), Option.getOrUndefined),
        Option.map(({ held }) => held)
      ),
    withLock: (self, name, options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(acquire(name, timeoutOf(options), restore), (taken) => during(self, taken, restore))
      ),
    withLockIfAvailable: (self, name) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(
          acquireIfAvailable(name, restore),
          Option.match({
            onNone: () => Effect.succeedNone,
            onSome: (taken) => Effect.asSome(during(self, taken, restore))
          })
        )
      ),
    status: (given) => {
      const name = toName(given)
      return Effect.flatMap(driver.keyOf(name), (key) => driver.status(key, name))
    },
    list: driver.list,
    cleanup: (olderThan) => driver.cleanup(Duration.toMillis(olderThan))
  }
}

const timeoutOf = (options: Options | undefined): number => Duration.toMillis(options?.timeout ?? "30 seconds")
