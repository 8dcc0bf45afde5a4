import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { Line } from "../../../react/internal/guard/line.js"
import type { Restore } from "../../../storage/Storage.js"
import type { Driver, Grip, HeldLock, Name, Options, Service } from "../../Lock.js"
import { LockError, LockLost, type LockStatus, LockTimeout } from "../../LockError.js"
import { Held } from "./held.js"

export const toName = (name: Name | string): Name => (typeof name === "string" ? { kind: "lock", id: name } : name)

export const format = (name: Name | string): string => {
  const { id, kind } = toName(name)
  return `${kind}/${id}`
}

/** A lock that was acquired, until it is given back. */
interface Taken {
  readonly key: string
  readonly held: HeldLock
  over: boolean
  /** Whether it was still held. */
  readonly release: Effect.Effect<boolean>
}

/** What the fiber holds, and whoever forked it: asking for it again would never end. */
const mine = globalValue("effect-recovery/Lock/mine", () => FiberRef.unsafeMake<ReadonlyArray<Taken>>([]))

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

  const leave = (key: string, line: Line) => {
    line.leave()
    // Nothing remembers a name that nobody wants.
    if (line.running === 0) lines.delete(key)
  }

  /** Says again and again that the holder is alive, and ends when the lock is lost. */
  const keep = (renew: Grip["renew"], clock: Clock.Clock) => {
    let renewed = clock.unsafeCurrentTimeNanos()
    const beat = Effect.suspend(() => {
      const started = clock.unsafeCurrentTimeNanos()
      return Effect.match(renew, {
        onSuccess: (ours) => {
          if (ours) renewed = started
          return ours
        },
        onFailure: () => millisSince(renewed, clock) < patience
      })
    })
    // Not cut short: half a heartbeat could look like the loss of the lock.
    const step = Effect.zipRight(Effect.sleep(heartbeat), Effect.uninterruptible(beat))
    return Effect.repeat(step, { while: (ours) => ours })
  }

  const take = (key: string, name: Name, grip: Grip, line: Line): Effect.Effect<Taken> =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const lost = yield* Deferred.make<never, LockLost>()
      const error = new LockLost({ lock: format(name), token: grip.token })
      const lose = Deferred.fail(lost, error)
      const oneByOne = Effect.unsafeMakeSemaphore(1).withPermits(1)
      const renew = oneByOne(grip.renew)
      const beating = yield* Effect.forkDaemon(Effect.interruptible(Effect.zipRight(keep(renew, clock), lose)))
      const check = Effect.suspend(() => (taken.over ? Effect.succeed(false) : Effect.uninterruptible(renew))).pipe(
        Effect.orElseSucceed(() => false),
        Effect.flatMap((ours) => (ours ? Effect.void : Effect.zipRight(lose, Effect.fail(error))))
      )
      const release = Effect.gen(function* () {
        yield* Fiber.interrupt(beating)
        taken.over = true
        const wasLost = yield* Deferred.isDone(lost)
        // One that cannot be given back runs out, or ends with its process.
        const ours = yield* Effect.orElseSucceed(oneByOne(grip.release), () => true)
        leave(key, line)
        yield* FiberRef.update(mine, (all) => all.filter((one) => one !== taken))
        return ours && !wasLost
      })
      const held = { lock: format(name), token: grip.token, check, lost: Deferred.await(lost) }
      const taken: Taken = { key, held, over: false, release }
      yield* FiberRef.update(mine, (all) => [...all.filter(({ over }) => !over), taken])
      return taken
    })

  const refuseAgain = (key: string, name: Name) =>
    Effect.flatMap(FiberRef.get(mine), (all) =>
      all.some((taken) => !taken.over && taken.key === key)
        ? Effect.fail(new LockError({ reason: "Reentrant", lock: format(name) }))
        : Effect.void
    )

  /** Asks until the lock is there or the time is over. Called where nothing can interrupt. */
  const poll = (
    key: string,
    name: Name,
    remaining: () => number,
    restore: Restore,
    delay = 1
  ): Effect.Effect<Grip, LockError | LockStatus> =>
    Effect.flatMap(driver.attempt(key, name, restore), (attempt) => {
      if (attempt._tag === "Acquired") return Effect.succeed(attempt.grip)
      const left = remaining()
      if (left <= 0) return Effect.fail(attempt.status)
      return Effect.flatMap(Random.next, (random) =>
        Effect.zipRight(
          restore(Effect.sleep(Math.min(left, delay * (0.5 + random / 2)))),
          poll(key, name, remaining, restore, Math.min(delay * 2, longest))
        )
      )
    })

  /** Waits for those of this process that came before. False: the time was over first. */
  const queue = (line: Line, left: number, restore: Restore): Effect.Effect<boolean> =>
    Effect.suspend(() => {
      if (line.tryEnter()) return Effect.succeed(true)
      if (left <= 0) return Effect.succeed(false)
      const turn = line.queue()
      const wait = Number.isFinite(left) ? Effect.timeoutOption(turn.wait, left) : Effect.asSome(turn.wait)
      return Effect.flatMap(Effect.exit(restore(wait)), (exit) => {
        if (Exit.isSuccess(exit) && Option.isSome(exit.value)) return Effect.succeed(true)
        line.giveUp(turn)
        return Exit.map(exit, () => false)
      })
    })

  const acquire = (given: Name | string, timeoutMillis: number, restore: Restore) =>
    Effect.gen(function* () {
      const name = toName(given)
      const clock = yield* Effect.clock
      const started = clock.unsafeCurrentTimeNanos()
      const remaining = () => timeoutMillis - millisSince(started, clock)
      const key = yield* restore(driver.keyOf(name))
      yield* refuseAgain(key, name)
      const timeout = (status: LockStatus) =>
        new LockTimeout({ lock: format(name), waited: Duration.millis(millisSince(started, clock)), status })
      const line = lineOf(key)
      const entered = yield* queue(line, remaining(), restore)
      if (!entered) return yield* timeout(yield* restore(driver.status(key, name)))
      const polled = poll(key, name, remaining, restore)
      const grip = yield* Effect.onError(polled, () => Effect.sync(() => leave(key, line)))
      return yield* take(key, name, grip, line)
    }).pipe(
      Effect.mapError((error) =>
        "_tag" in error
          ? error
          : new LockTimeout({ lock: error.lock, waited: Duration.millis(timeoutMillis), status: error })
      )
    )

  const acquireIfAvailable = (given: Name | string, restore: Restore): Effect.Effect<Option.Option<Taken>, LockError> =>
    acquire(given, 0, restore).pipe(
      Effect.asSome,
      Effect.catchTag("LockTimeout", () => Effect.succeedNone)
    )

  /** The effect while it holds the lock. */
  const during = <A, E, R>(self: Effect.Effect<A, E, R>, taken: Taken, restore: Restore) => {
    const inside = Effect.provideService(self, Held, taken.held)
    return Effect.flatMap(Effect.exit(restore(Effect.raceFirst(inside, taken.held.lost))), (exit) =>
      Effect.flatMap(taken.release, (ours) =>
        Exit.isSuccess(exit) && !ours
          ? Effect.fail(new LockLost({ lock: taken.held.lock, token: taken.held.token }))
          : exit
      )
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

/** By a clock that nobody puts back. */
const millisSince = (nanos: bigint, clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos() - nanos) / 1e6
