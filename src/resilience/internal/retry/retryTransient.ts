import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as Decision from "../../Decision.js"
import type * as Fault from "../../Fault.js"
import { CircuitOpen } from "../../RecoveryError.js"
import type { RetryBudget } from "../../RetryBudget.js"
import * as RetryPolicy from "../../RetryPolicy.js"
import * as Strategy from "../../StrategyModel.js"
import { isUnclassified } from "./schedule.js"

interface Settings {
  /** The one in force, if there is none. */
  readonly policy: Schedule.Schedule<unknown, unknown> | undefined
  readonly budget?: RetryBudget | undefined
  /** What to do with a failure that running again cannot mend. */
  readonly refused: "abort" | "exhausted"
}

/**
 * Retries what may go away by itself: transient faults, and those nothing is
 * known of. A policy by category knows better and is asked about all of them.
 * An open breaker has said when to come again, so the waiting ends there.
 */
export const retryTransient = ({
  budget,
  policy,
  refused
}: Settings): Strategy.Strategy<unknown, never, Strategy.Original | Strategy.Exhausted> => {
  const refusal = refused === "abort" ? Decision.abort : Decision.exhausted
  const openWith = (policy: Schedule.Schedule<unknown, unknown>): Driver => {
    const decides = isByCategory(policy)
    const driver = Strategy.openSchedule(policy, budget)
    const retried = new Set<Fault.Category>()
    return (failure) => {
      const { category } = failure.fault
      const may = isWorthwhile(failure.fault)
      if (failure.error instanceof CircuitOpen || !(may || decides)) return Effect.succeed(refusal)
      return Effect.map(driver(failure), (decision) => {
        if (decision._tag === "Again") retried.add(category)
        // The table has no retries for it: it was refused, and did not run out of them.
        else if (!may && !retried.has(category)) return refusal
        return decision
      })
    }
  }
  const open = () =>
    policy === undefined ? Strategy.openLate(Effect.map(RetryPolicy.Current, openWith)) : openWith(policy)
  return Strategy.fromOpen("retry", open, budget === undefined ? [] : [budget])
}

const isWorthwhile = (fault: Fault.Fault): boolean => fault.transient || isUnclassified(fault)

type Driver = Strategy.Driver<unknown, never, Strategy.Original | Strategy.Exhausted, never>

const isByCategory = (policy: Schedule.Schedule<unknown, unknown>): boolean =>
  "description" in policy &&
  typeof policy.description === "object" &&
  policy.description !== null &&
  "table" in policy.description
