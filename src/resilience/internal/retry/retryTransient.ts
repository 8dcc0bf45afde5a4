import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as Decision from "../../Decision.js"
import type * as Fault from "../../Fault.js"
import { CircuitOpen } from "../../Refusal.js"
import type { RetryBudget } from "../../RetryBudget.js"
import * as RetryPolicy from "../../RetryPolicy.js"
import * as Strategy from "../../StrategyModel.js"
import { isUnclassified } from "./schedule.js"

interface Settings {
  /** Defaults to `RetryPolicy.Current`. */
  readonly policy: Schedule.Schedule<unknown, unknown> | undefined
  readonly budget?: RetryBudget | undefined
  /** The decision for a failure that is not retried. */
  readonly refused: "abort" | "exhausted"
}

/**
 * Retries transient and unclassified failures. A policy by category decides
 * about all failures itself. `CircuitOpen` is never retried, since the breaker
 * refuses calls until its open time is over.
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
      const isRetriable = mayPass(failure.fault)
      if (failure.error instanceof CircuitOpen || !(isRetriable || decides)) return Effect.succeed(refusal)
      return Effect.map(driver(failure), (decision) => {
        if (decision._tag === "Again") retried.add(category)
        // No retry of this category so far, so its policy refuses it, rather than being exhausted.
        else if (!isRetriable && !retried.has(category)) return refusal
        return decision
      })
    }
  }
  const open = () =>
    policy === undefined ? Strategy.openLate(Effect.map(RetryPolicy.Current, openWith)) : openWith(policy)
  return Strategy.fromOpen("retry", open, budget === undefined ? [] : [budget])
}

const mayPass = (fault: Fault.Fault): boolean => fault.transient || isUnclassified(fault)

type Driver = Strategy.Driver<unknown, never, Strategy.Original | Strategy.Exhausted, never>

const isByCategory = (policy: Schedule.Schedule<unknown, unknown>): boolean =>
  "description" in policy &&
  typeof policy.description === "object" &&
  policy.description !== null &&
  "table" in policy.description
