import * as Effect from "effect/Effect"
import { printable } from "../../Foreign.js"

/** Runs an effect whose failures and defects are logged with this message, and change nothing else. */
export const logged = <R>(self: Effect.Effect<unknown, unknown, R>, message: string): Effect.Effect<void, never, R> =>
  Effect.catchAllCause(Effect.asVoid(self), (cause) =>
    Effect.logWarning(`effect-recovery: ${message}`, printable(cause))
  )
