import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Fault from "../Fault.js"
import type { RetryPolicy } from "../RetryPolicy.js"
import * as policy_ from "./policy.js"

/** Where each category's own policy stands; a category not seen yet is absent. */
type State = Readonly<Record<string, unknown>>

type Table = { readonly [category in Fault.Category]?: RetryPolicy }

export const make = (defaults: Readonly<Record<string, RetryPolicy>>, table: Table): RetryPolicy => {
  const policies: Readonly<Record<string, RetryPolicy | undefined>> = { ...defaults, ...table }
  const policyFor = (fault: Fault.Fault): RetryPolicy => {
    if (!fault.transient && fault.category !== "unknown" && !isExplicit(table, fault)) return policy_.none
    return policies[fault.category] ?? policies["unknown"] ?? policy_.none
  }
  const schedule = Schedule.makeWithState<State, unknown, Duration, never>({}, (now, failure, state) =>
    Effect.flatMap(Fault.classify(failure), (fault) => {
      const policy = policyFor(fault)
      const own = fault.category in state ? state[fault.category] : policy.initial
      return Effect.map(policy.step(now, failure, own), ([next, delay, decision]) => [
        { ...state, [fault.category]: next },
        delay,
        decision
      ])
    })
  )
  return policy_.describe(schedule, { curve: "byCategory", table: descriptions(policies) })
}

type Duration = ReturnType<typeof policy_.stop>[1]

/** A category the user names is retried even if its faults are not transient by default. */
const isExplicit = (table: Table, fault: Fault.Fault): boolean => Object.hasOwn(table, fault.category)

const descriptions = (policies: Readonly<Record<string, RetryPolicy | undefined>>) =>
  Object.fromEntries(
    Object.entries(policies).flatMap(([category, policy]) =>
      policy === undefined ? [] : [[category, policy.description]]
    )
  )
