import * as Effect from "effect/Effect"
import type * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import type { Suggestion } from "../../Insights.js"
import type { InitiateOptions, RecoveryType } from "../../RecoveryOptions.js"
import { suggest } from "../insights/suggest.js"
import { validate } from "./checkpoints.js"
import { checkFeasible } from "./feasibility.js"
import { isRecoveryType, type Settings } from "./plan.js"

/** What is to be done about a failure. */
export interface Choice {
  readonly type: RecoveryType
  /** Undefined if the request named the type. */
  readonly suggestion: Suggestion | undefined
}

const suggestionsOf = (settings: Settings | undefined, failure: FailureRecord, by: Settings, checkpoint?: string) =>
  Effect.flatMap(Storage.Storage, (storage) => {
    const accepts = (info: Checkpoint.Info) =>
      Effect.match(validate(by, info), { onFailure: () => false, onSuccess: ({ isValid }) => isValid })
    return suggest(storage, failure, { settings, checkpoint, accepts })
  })

/**
 * What this manager can do about a failure, and advice. A manager without workflows and actions can do nothing itself:
 * it suggests what the run and its checkpoints allow.
 */
export const suggestFor = (settings: Settings, failure: FailureRecord) => {
  const onlyReads = settings.workflows.length === 0 && Object.values(settings.actions).every((one) => one === undefined)
  return suggestionsOf(onlyReads ? undefined : settings, failure, settings)
}

/** The requested type, or for `auto` the first suggestion that this manager can carry out. */
export const choose = (
  settings: Settings,
  failure: FailureRecord,
  type: RecoveryType | "auto",
  { checkpoint }: InitiateOptions
) =>
  Effect.gen(function* () {
    const check = (type: RecoveryType) => checkFeasible(failure, type, { settings, checkpoint, mayRun: true })
    if (type !== "auto") return yield* Effect.as(check(type), { type, suggestion: undefined })
    for (const suggestion of yield* suggestionsOf(settings, failure, settings, checkpoint)) {
      if (isRecoveryType(suggestion.strategy)) return { type: suggestion.strategy, suggestion }
    }
    // None is feasible, so this fails and says why; unless the failure or its run has changed since.
    return yield* Effect.as(check("retry"), { type: "retry" as const, suggestion: undefined })
  })
