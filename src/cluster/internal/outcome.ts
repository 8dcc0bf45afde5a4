import type * as Workflow from "@effect/workflow/Workflow"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Defect } from "../../resilience/Defect.js"

/** A failure that is no single error of the workflow: a defect, an interruption, or several at once. */
export interface Ended {
  readonly _tag: "effect-recovery/Ended"
  readonly cause: Cause.Cause<unknown>
}

const ended = (cause: Cause.Cause<unknown>): Ended => ({ _tag: "effect-recovery/Ended", cause })

const isEnded = (error: unknown): error is Ended =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "effect-recovery/Ended"

const causeOf = (error: Schema.Schema.All) =>
  // The schema of a cause is erased here; its values are written by `toFailure` alone.
  Schema.Cause({ error: error as Schema.Schema<unknown>, defect: Defect })

/** How a run records the failures of a workflow: first those that are no error of the program. */
export const errorSchema = ({ errorSchema }: Workflow.Any): Schema.Schema.All =>
  Schema.Union(
    Schema.Struct({ _tag: Schema.Literal("effect-recovery/Ended"), cause: causeOf(errorSchema) }),
    // Schemas of errors differ in their types alone.
    errorSchema as Schema.Schema<unknown>
  )

/** The same for the encoded failures of an activity. */
export const activityError: Schema.Schema.All = Schema.Union(
  Schema.Struct({ _tag: Schema.Literal("effect-recovery/Ended"), cause: causeOf(Schema.Unknown) }),
  Schema.Unknown
)

/** What a run fails with for this cause. */
export const toFailure = (cause: Cause.Cause<unknown>): unknown => {
  const only = cause._tag === "Fail" ? Option.some(cause.error) : Option.none()
  return Option.getOrElse(only, () => ended(cause))
}

/** The cause behind the recorded failure. */
export const toExit = <A>(exit: Exit.Exit<A, unknown>): Exit.Exit<A, unknown> =>
  Exit.mapErrorCause(exit, (cause) =>
    Cause.flatMap(cause, (error) => (isEnded(error) ? error.cause : Cause.fail(error)))
  )
