import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Defect } from "../../../resilience/Defect.js"
import type { Plan } from "../../../resilience/internal/kernel/plan.js"
import { joinKey } from "../../../resilience/Key.js"
import * as PolicySchema from "../../../resilience/PolicySchema.js"
import type { Recorded } from "../../../resilience/Recovery.js"
import { RecoveryExhausted } from "../../../resilience/RecoveryError.js"
import { BulkheadFull, CircuitOpen } from "../../../resilience/Refusal.js"
import { define } from "../step/definition.js"
import { runStep } from "../step/runStep.js"
import { LeftOpen } from "../step/stepUse.js"
import { execute } from "./execute.js"

/** An `UnknownException`: the rejection of a promise. */
const Rejected = Schema.transform(
  Schema.Struct({ _tag: Schema.tag("UnknownException"), error: Defect }),
  Schema.declare((input): input is Cause.UnknownException => input instanceof Cause.UnknownException),
  {
    strict: true,
    decode: ({ error }) => new Cause.UnknownException(error),
    encode: ({ error }) => ({ _tag: "UnknownException" as const, error })
  }
)

/** The id of the run that records an operation. */
export const runId = (name: string, id: string): string => `${joinKey(name)}/${id}`

/** Records an operation as a run with one step. The attempts of the recoverable are those of the step. */
export const persist = (success: Schema.Schema.Any, ownError: Schema.Schema.All) => {
  const error = Schema.Union(
    ownError,
    PolicySchema.CircuitOpen,
    PolicySchema.BulkheadFull,
    Rejected
  ) as Schema.Schema.All
  return ({ attempt, id, labels, name, options, plan }: Recorded): Effect.Effect<unknown, unknown, unknown> => {
    const made = define(name, { success, error, run: attempt })
    const step = { ...made, plan: exceptBulkheadFull(plan), recovery: options, leavesOpen: isRefusal }
    const body = () => runStep(step, undefined)
    const workflow = { name, version: "1", input: Schema.Void, success, error, body }
    // The step needs what the attempt needs; the run provides the rest.
    const run = execute(workflow as never, { id: runId(name, id), input: undefined, labels })
    return Effect.catchSomeDefect(run, (defect) =>
      defect instanceof LeftOpen ? Option.some(Effect.fail(defect.error)) : Option.none()
    )
  }
}

/** `BulkheadFull` is not retried. */
const exceptBulkheadFull = (plan: Plan): Plan => ({
  ...plan,
  find: (error, fault) => (error instanceof BulkheadFull ? undefined : plan.find(error, fault))
})

/** The work was refused before it ran, so the operation has no outcome and can be tried again. */
const isRefusal = (error: unknown): boolean =>
  error instanceof CircuitOpen ||
  error instanceof BulkheadFull ||
  (error instanceof RecoveryExhausted && isRefusal(error.error))
