import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import { redactTextIn } from "../redaction/inForce.js"
import { redactCause } from "../redaction/logs.js"

/** Logs a warning without its secrets. */
export const warning = (message: string, cause: Cause.Cause<unknown>) =>
  Effect.contextWithEffect((context: Context.Context<never>) => {
    const redact = redactTextIn(context)
    return Effect.logWarning(`effect-recovery: ${redact(message)}`, redactCause(cause, redact))
  })

/** Runs an effect whose failures and defects are logged with this message, and change nothing else. */
export const logged = <R>(self: Effect.Effect<unknown, unknown, R>, message: string): Effect.Effect<void, never, R> =>
  Effect.catchAllCause(Effect.asVoid(self), (cause) => warning(message, cause))

/** Logs what a function of the user threw, with the loggers of the fiber that called it. */
export const logThrown = (thrown: unknown, message: string): void => {
  const log = warning(message, Cause.die(thrown))
  const fiber = Option.getOrUndefined(Fiber.getCurrentFiber())
  if (fiber === undefined) return void Effect.runFork(log)
  const context: Context.Context<never> = fiber.currentContext
  const fiberRefs = fiber.getFiberRefs()
  Runtime.runFork(Runtime.make({ context, fiberRefs, runtimeFlags: Runtime.defaultRuntimeFlags }), log)
}

/** Calls a function of the user. If it throws, the throw is logged and the result is `otherwise`. */
export const orElseLogged = <A>(call: () => A, otherwise: A, message: string): A => {
  try {
    return call()
  } catch (thrown) {
    logThrown(thrown, message)
    return otherwise
  }
}

/** As {@link orElseLogged}, for a function that returns an effect. Handles its defects too. */
export const orElseLoggedEffect = <A, E, R>(
  call: () => Effect.Effect<A, E, R>,
  otherwise: A,
  message: string
): Effect.Effect<A, E, R> =>
  Effect.catchAllDefect(Effect.suspend(call), (defect) => Effect.as(warning(message, Cause.die(defect)), otherwise))
