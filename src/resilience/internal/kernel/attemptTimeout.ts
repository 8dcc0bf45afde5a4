import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as RuntimeFlags from "effect/RuntimeFlags"
import { AttemptTimeout } from "../../RecoveryError.js"
import { startTimer } from "./timer.js"

/**
 * Interrupts `self` after `timeout` and fails with `AttemptTimeout`.
 *
 * `Effect.timeout` races two fibers, which costs four times as much. This one
 * sets a timer, and only if the work does not end synchronously.
 */
export const attemptTimeout = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  timeout: Duration.Duration
): Effect.Effect<A, E | AttemptTimeout, R> => {
  const millis = Duration.toMillis(timeout)
  return interruptWhen(
    self,
    (parent, trigger) => startTimer(parent, millis, trigger),
    () => new AttemptTimeout({ timeout })
  )
}

/**
 * Runs `self` in a child fiber that starts synchronously. `arm` receives a
 * trigger and returns a function that disarms it. If the trigger is called
 * before `self` ends, `self` is interrupted and the result is a failure with
 * the error that `makeError` returns.
 */
export const interruptWhen = <A, E, R, E2>(
  self: Effect.Effect<A, E, R>,
  arm: (parent: Fiber.RuntimeFiber<unknown, unknown>, trigger: () => void) => () => void,
  makeError: () => E2
): Effect.Effect<A, E | E2, R> => {
  const triggered = Symbol("triggered")
  return Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime<A, E | E2, R>((parent, { runtimeFlags }) => {
      const child = fork(parent, runtimeFlags, restore(self))
      const done = child.unsafePoll()
      if (done !== null) return join(child, done)
      superviseChild(parent, child)
      const first = Effect.async<Exit.Exit<A, E> | typeof triggered>((resume) => {
        const disarm = arm(parent, () => resume(Effect.succeed(triggered)))
        child.addObserver((exit) => {
          disarm()
          resume(Effect.succeed(exit))
        })
      })
      return Effect.matchCauseEffect(restore(first), {
        onFailure: (cause) =>
          Effect.flatMap(Fiber.interrupt(child), (exit) => Effect.failCause(withDefects(cause, exit))),
        onSuccess: (result) => {
          if (result !== triggered) return join(child, result)
          return Effect.flatMap(Fiber.interrupt(child), (exit) => exitAfterTrigger(child, exit, makeError))
        }
      })
    })
  )
}

/** Nested calls start on one JavaScript stack; beyond this depth a fiber starts asynchronously. */
const maxDepth = 100
let depth = 0

const fork = <A, E, R>(
  parent: Fiber.RuntimeFiber<unknown, unknown>,
  runtimeFlags: RuntimeFlags.RuntimeFlags,
  self: Effect.Effect<A, E, R>
): Fiber.RuntimeFiber<A, E> => {
  const runtime = Runtime.make({
    // The parent runs an effect that needs R, so its context contains R.
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

/** Methods of Effect's runtime fibers that their interface does not declare, so their presence is checked. */
interface Supervisor {
  readonly addChild?: (child: Fiber.RuntimeFiber<unknown, unknown>) => void
  readonly removeChild?: (child: Fiber.RuntimeFiber<unknown, unknown>) => void
}

/** Effect interrupts the children of an interrupted fiber even while the fiber itself is uninterruptible. */
const superviseChild = <A, E>(
  parent: Fiber.RuntimeFiber<unknown, unknown> & Supervisor,
  child: Fiber.RuntimeFiber<A, E>
): void => {
  parent.addChild?.(child)
  child.addObserver(() => parent.removeChild?.(child))
}

/** The parent inherits the fiber refs of successful work, as if it had run the work itself. */
const join = <A, E>(child: Fiber.RuntimeFiber<A, E>, exit: Exit.Exit<A, E>): Effect.Effect<A, E> =>
  Exit.isSuccess(exit) ? Effect.zipRight(child.inheritAll, exit) : exit

/** If uninterruptible work ended with a value or a typed failure after the trigger, that is the result. */
const exitAfterTrigger = <A, E, E2>(
  child: Fiber.RuntimeFiber<A, E>,
  exit: Exit.Exit<A, E>,
  makeError: () => E2
): Effect.Effect<A, E | E2> =>
  Exit.isSuccess(exit) || Cause.isFailure(exit.cause)
    ? join(child, exit)
    : Effect.failCause(withDefects(Cause.fail(makeError()), exit))

/** Keeps the defects of finalizers that died during the interruption. */
const withDefects = <E>(cause: Cause.Cause<E>, exit: Exit.Exit<unknown, unknown>): Cause.Cause<E> => {
  const defects = Exit.isFailure(exit) ? Cause.keepDefects(exit.cause) : Option.none()
  return Option.isSome(defects) ? Cause.sequential(cause, defects.value) : cause
}
