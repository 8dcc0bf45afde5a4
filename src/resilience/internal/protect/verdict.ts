import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fault from "../../Fault.js"
import { BulkheadFull, CircuitOpen } from "../../RecoveryError.js"

/** Asked before the rules in force. */
export type Rules = ReadonlyArray<Fault.Rule> | undefined

export const classify = (cause: Cause.Cause<unknown>, rules: Rules): Effect.Effect<Fault.Fault> =>
  Effect.map(Fault.classifier(rules), (classify) => classify(cause))

/** The failure of the call is not lost to a bug in what judges it. */
export const after = <E>(judged: Effect.Effect<void>, cause: Cause.Cause<E>): Effect.Effect<never, E> =>
  Effect.matchCauseEffect(judged, {
    onFailure: (bug) => Effect.failCause(Cause.sequential(cause, bug)),
    onSuccess: () => Effect.failCause(cause)
  })

/** Also one whose finalizers died: whoever was interrupted has no answer to count. */
export const isInterruption = (cause: Cause.Cause<unknown>): boolean =>
  Cause.isInterrupted(cause) && !Cause.isFailure(cause)

/** The call was never made. */
export const isRefusal = (cause: Cause.Cause<unknown>): boolean => {
  const error = Cause.failureOption(cause)
  return error._tag === "Some" && (error.value instanceof CircuitOpen || error.value instanceof BulkheadFull)
}
