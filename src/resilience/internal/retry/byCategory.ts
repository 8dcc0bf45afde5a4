import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Fault from "../../Fault.js"
import type { RetryPolicy } from "../../RetryPolicy.js"
import * as policy_ from "./policy.js"

/** Where each category's own policy stands; a category not seen yet is absent. */
type State = ReadonlyMap<string, unknown>

type Table = { readonly [category in Fault.Category]?: RetryPolicy }

export const make = (defaults: Readonly<Record<string, RetryPolicy>>, table: Table): RetryPolicy => {
  const own = new Map(entriesOf(table))
  const policies = new Map([...entriesOf(defaults), ...own])
  const policyFor = (fault: Fault.Fault): RetryPolicy => {
    // A category the user names is retried even if its faults are not transient by default.
    const may = fault.transient || own.has(fault.category) || isUnclassified(fault)
    return may ? (policies.get(fault.category) ?? policies.get("unknown") ?? policy_.none) : policy_.none
  }
  const schedule = Schedule.makeWithState<State, unknown, Duration, never>(new Map(), (now, failure, state) =>
    Effect.flatMap(Fault.classify(failure), (fault) => {
      const policy = policyFor(fault)
      const position = state.has(fault.category) ? state.get(fault.category) : policy.initial
      return Effect.map(policy.step(now, failure, position), ([next, delay, decision]) => [
        new Map(state).set(fault.category, next),
        delay,
        decision
      ])
    })
  )
  return policy_.describe(schedule, { curve: "byCategory", table: descriptions(policies) })
}

type Duration = ReturnType<typeof policy_.stop>[1]

/** Nothing is known of the failure, so nothing speaks against trying. */
export const isUnclassified = (fault: Fault.Fault): boolean => fault.category === "unknown" && fault.confidence === 0

const entriesOf = (table: Table): ReadonlyArray<readonly [string, RetryPolicy]> =>
  Object.entries(table).flatMap(([category, policy]) => (policy === undefined ? [] : [[category, policy] as const]))

const descriptions = (policies: ReadonlyMap<string, RetryPolicy>) =>
  Object.fromEntries([...policies].map(([category, policy]) => [category, policy.description]))
