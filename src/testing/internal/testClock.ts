import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestContext from "effect/TestContext"
import type * as TestServices from "effect/TestServices"

/**
 * Runs an effect with its own test clock, in its own fiber: the test context
 * leaves its clock in the fiber it was provided to, and a later sleep of that
 * fiber would never end.
 */
export const underTestClock = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, TestServices.TestServices>> =>
  Effect.acquireUseRelease(
    Effect.fork(Effect.interruptible(Effect.provide(self, TestContext.TestContext))),
    (fiber) => Effect.flatten(Fiber.await(fiber)),
    Fiber.interrupt
  )

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

/**
 * A clock that only `advance` moves. Effect's test clock waits at least ten milliseconds of real time at each move,
 * until all fibers sleep; a walk over all crash points moves it thousands of times.
 */
export class VirtualClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  private readonly sleepers = new Set<Sleeper>()
  private now = 0
  private working = 0

  unsafeCurrentTimeMillis(): number {
    return this.now
  }

  unsafeCurrentTimeNanos(): bigint {
    return BigInt(Math.trunc(this.now)) * 1_000_000n
  }

  readonly currentTimeMillis: Effect.Effect<number> = Effect.sync(() => this.now)

  readonly currentTimeNanos: Effect.Effect<bigint> = Effect.sync(() => this.unsafeCurrentTimeNanos())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async((resume) => {
      const sleeper = { at: this.now + Duration.toMillis(duration), wake: () => resume(Effect.void) }
      this.sleepers.add(sleeper)
      return Effect.sync(() => this.sleepers.delete(sleeper))
    })
  }

  /** The clock does not move during this work, however long the machine takes for it. */
  readonly standStill = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Effect.sync(() => void this.working++),
      () => work,
      () => Effect.sync(() => void this.working--)
    )

  /** Wakes the sleepers of this time in their order. Those that wake continue before the next ones do. */
  advance(millis: number): Effect.Effect<void> {
    const end = this.now + millis
    let standing = 0
    const step: Effect.Effect<void> = Effect.suspend(() => {
      if (this.working > 0 && standing++ < maxStanding) return Effect.zipRight(eventLoopTurn, step)
      standing = 0
      const [first] = [...this.sleepers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)
      this.now = Math.max(this.now, first?.at ?? end)
      if (first === undefined) return Effect.void
      this.sleepers.delete(first)
      first.wake()
      return Effect.zipRight(eventLoopTurn, step)
    })
    return step
  }
}

/** Turns of the event loop for which the clock stands still: work may itself wait for a time of the clock. */
const maxStanding = 20_000

/** Runs an effect under a virtual clock of its own. */
export const underVirtualClock = <A, E, R>(use: (clock: VirtualClock) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const clock = new VirtualClock()
    return Effect.withClock(use(clock), clock)
  })

/** One turn of the event loop, in which the storage can make progress. */
export const eventLoopTurn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/**
 * Waits for a fiber and advances the clock meanwhile. Returns `undefined` if
 * its process crashed.
 */
export const awaitExit = <A, E>(
  fiber: Fiber.RuntimeFiber<A, E>,
  isDead: () => boolean,
  clock: VirtualClock
): Effect.Effect<Exit.Exit<A, E> | undefined, Stuck> =>
  Effect.gen(function* () {
    for (let i = 0; i < maxTurns; i++) {
      yield* eventLoopTurn
      if (isDead()) return undefined
      const exit = fiber.unsafePoll()
      if (exit !== null) return exit
      // Steps of the clock double, so that waits of hours need few turns. A lease is renewed all the time, so they end at 36 hours.
      if (i % 5 === 4) yield* clock.advance(2_000 * 2 ** Math.min(16, Math.floor(i / 200)))
    }
    return yield* Effect.fail(new Stuck())
  })

const maxTurns = 5_000

/** The run does not end, although the test clock advanced far. */
export class Stuck extends Error {
  readonly _tag = "Stuck"
  override get message(): string {
    return "The run did not end, however far the test clock advanced. Does it wait for a signal that the test does not send?"
  }
}
