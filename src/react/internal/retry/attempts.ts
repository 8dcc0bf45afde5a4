import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as Decision from "../../Decision.js"
import type * as Fault from "../../Fault.js"
import type { RetryBudget } from "../../RetryBudget.js"
import * as RetryPolicy from "../../RetryPolicy.js"
import * as Strategy from "../../Strategy.js"
import { CircuitOpen } from "../errors.js"
import { isUnclassified } from "./byCategory.js"

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
export const attempts = ({
  budget,
  policy,
  refused
}: Settings): Strategy.Strategy<unknown, never, Strategy.Original | Strategy.Exhausted> => {
  const open = (): Strategy.Driver<unknown, never, Strategy.Original | Strategy.Exhausted, never> => {
    let ask: Ask | undefined
    const refusal = refused === "abort" ? Decision.abort : Decision.exhausted
    const retried = new Set<Fault.Category>()
    const asked = (failure: Strategy.Failure<unknown>, { decides, driver }: Ask) => {
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
    return (failure) => {
      if (ask !== undefined) return asked(failure, ask)
      const inForce = policy === undefined ? RetryPolicy.Current : Effect.succeed(policy)
      return Effect.flatMap(inForce, (policy) => {
        ask = { decides: isByCategory(policy), driver: Strategy.openSchedule(policy, budget) }
        return asked(failure, ask)
      })
    }
  }
  return Strategy.fromOpen("retry", open, budget === undefined ? [] : [budget])
}

const isWorthwhile = (fault: Fault.Fault): boolean => fault.transient || isUnclassified(fault)

interface Ask {
  readonly decides: boolean
  readonly driver: Strategy.Driver<unknown, never, Strategy.Exhausted, never>
}

const isByCategory = (policy: Schedule.Schedule<unknown, unknown>): boolean =>
  "description" in policy &&
  typeof policy.description === "object" &&
  policy.description !== null &&
  "table" in policy.description
