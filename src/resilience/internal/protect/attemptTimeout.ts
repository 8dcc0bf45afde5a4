import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as RuntimeFlags from "effect/RuntimeFlags"
import { AttemptTimeout } from "../errors.js"

const liveClock = Context.get(DefaultServices.liveServices, Clock.Clock)

/**
 * Effect.timeout races two fibers, which costs four times as much. Here a timer
 * is set for work that does not end at once, and only if that rings is anything
 * else done.
 */
export const attemptTimeout = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  timeout: Duration.Duration
): Effect.Effect<A, E | AttemptTimeout, R> => {
  const millis = Duration.toMillis(timeout)
  return stoppedBy(
    self,
    (parent, ring) => after(parent, millis, ring),
    () => new AttemptTimeout({ timeout })
  )
}

/**
 * Runs the work in a fiber of its own, started at once, and interrupts it if
 * what was armed rings before it has ended. Arming answers how to disarm.
 */
export const stoppedBy = <A, E, R, E2>(
  self: Effect.Effect<A, E, R>,
  arm: (parent: Fiber.RuntimeFiber<unknown, unknown>, ring: () => void) => () => void,
  stopped: () => E2
): Effect.Effect<A, E | E2, R> => {
  const rings = Symbol("rings")
  return Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime<A, E | E2, R>((parent, { runtimeFlags }) => {
      const child = start(parent, runtimeFlags, restore(self))
      const done = child.unsafePoll()
      if (done !== null) return join(child, done)
      adopt(parent, child)
      const first = Effect.async<Exit.Exit<A, E> | typeof rings>((resume) => {
        const disarm = arm(parent, () => resume(Effect.succeed(rings)))
        child.addObserver((exit) => {
          disarm()
          resume(Effect.succeed(exit))
        })
      })
      return Effect.matchCauseEffect(restore(first), {
        onFailure: (cause) =>
          Effect.flatMap(Fiber.interrupt(child), (exit) => Effect.failCause(withDefects(cause, exit))),
        onSuccess: (result) => {
          if (result !== rings) return join(child, result)
          return Effect.flatMap(Fiber.interrupt(child), (exit) => rung(child, exit, stopped))
        }
      })
    })
  )
}

/** Work inside of work starts on the same stack, which has an end. */
const maxDepth = 100
let depth = 0

const start = <A, E, R>(
  parent: Fiber.RuntimeFiber<unknown, unknown>,
  runtimeFlags: RuntimeFlags.RuntimeFlags,
  self: Effect.Effect<A, E, R>
): Fiber.RuntimeFiber<A, E> => {
  const runtime = Runtime.make({
    // The fiber runs an effect that needs R, so its context has it.
    context: parent.currentContext as Context.Context<R>,
    fiberRefs: parent.getFiberRefs(),
    runtimeFlags
  })
  depth++
  try {
    return Runtime.runFork(runtime, self, { immediate: depth < maxDepth })
  } finally {
    depth--
  }
}

/** What the runtime's fibers have for those they fork; not in their interface, so asked for and not assumed. */
interface Family {
  readonly addChild?: (child: Fiber.RuntimeFiber<unknown, unknown>) => void
  readonly removeChild?: (child: Fiber.RuntimeFiber<unknown, unknown>) => void
}

/** Whoever interrupts a fiber interrupts its children, even while the fiber itself cannot be: so is the work. */
const adopt = <A, E>(parent: Fiber.RuntimeFiber<unknown, unknown> & Family, child: Fiber.RuntimeFiber<A, E>): void => {
  parent.addChild?.(child)
  child.addObserver(() => parent.removeChild?.(child))
}

/** What the work has changed for its fiber, it has changed for ours, as it would have without a timeout. */
const join = <A, E>(child: Fiber.RuntimeFiber<A, E>, exit: Exit.Exit<A, E>): Effect.Effect<A, E> =>
  Exit.isSuccess(exit) ? Effect.zipRight(child.inheritAll, exit) : exit

/** Where nothing can be stopped, what comes too late has happened all the same: the answer is worth more than the bell. */
const rung = <A, E, E2>(
  child: Fiber.RuntimeFiber<A, E>,
  exit: Exit.Exit<A, E>,
  stopped: () => E2
): Effect.Effect<A, E | E2> =>
  Exit.isSuccess(exit) || Cause.isFailure(exit.cause)
    ? join(child, exit)
    : Effect.failCause(withDefects(Cause.fail(stopped()), exit))

/** A finalizer that dies on the way out is a bug, and bugs are not hidden. */
const withDefects = <E>(cause: Cause.Cause<E>, exit: Exit.Exit<unknown, unknown>): Cause.Cause<E> => {
  const defects = Exit.isFailure(exit) ? Cause.keepDefects(exit.cause) : Option.none()
  return Option.isSome(defects) ? Cause.sequential(cause, defects.value) : cause
}

/** Calls back once the fiber's clock says so; answers how to prevent it. */
export const after = (fiber: Fiber.RuntimeFiber<unknown, unknown>, millis: number, ring: () => void): (() => void) => {
  const clock = Context.get(fiber.getFiberRef(DefaultServices.currentServices), Clock.Clock)
  if (clock === liveClock) {
    // Longer than a timer can wait: it would ring at once.
    if (millis > maxTimerMillis) return () => {}
    const timer = setTimeout(ring, millis)
    return () => clearTimeout(timer)
  }
  const sleeper = Effect.runFork(Effect.zipRight(clock.sleep(Duration.millis(millis)), Effect.sync(ring)))
  return () => sleeper.unsafeInterruptAsFork(fiber.id())
}

const maxTimerMillis = 2 ** 31 - 1
