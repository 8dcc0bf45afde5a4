import * as Cause from "effect/Cause"
import * as Option from "effect/Option"

/** Whether a failure rolls back, as the options say. */
export const rollsBack = (rollbackWhen: ((error: never) => boolean) | undefined) => (cause: Cause.Cause<unknown>) => {
  const error = Cause.failureOption(cause)
  if (rollbackWhen === undefined || Option.isNone(error) || Cause.isDie(cause)) return true
  try {
    // The cause is that of the effect the predicate was written for.
    return rollbackWhen(error.value as never)
  } catch {
    // One that cannot tell must not leave things half done.
    return true
  }
}
