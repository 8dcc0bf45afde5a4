import type * as Fault from "../../Fault.js"
import { tagOf } from "../../Foreign.js"
import type * as RetryBudget from "../../RetryBudget.js"
import type * as Strategy from "../../StrategyModel.js"

/** Decides which strategy handles which error. */
export interface Plan {
  /** Finds the strategy for an error. Calls `fault` only if it needs the classification. */
  readonly find: (error: unknown, fault: () => Fault.Fault) => Found | undefined
  /** The budgets that pay for retries. Each first attempt credits them. */
  readonly budgets: ReadonlyArray<RetryBudget.RetryBudget>
}

/** Strategies keep their state per key for the length of one recovery. */
export type Found = readonly [key: string, strategy: Strategy.For<never>]

type Table = ReadonlyMap<string, Strategy.For<never>>

/** A handler that is `undefined` at run time is left out, so its failures surface unchanged. */
const tableOf = (handlers: object): Table => {
  // The callers' types say that the values are strategies or undefined.
  const entries = Object.entries(handlers) as ReadonlyArray<readonly [string, Strategy.For<never> | undefined]>
  return new Map(entries.flatMap(([key, strategy]) => (strategy === undefined ? [] : [[key, strategy] as const])))
}

/** Each budget once, even if several strategies share it. */
const budgetsOf = (strategies: Iterable<Strategy.For<never>>): Plan["budgets"] => [
  ...new Set([...strategies].flatMap(({ budgets }) => budgets))
]

const lookUp = (table: Table, key: string | undefined): Found | undefined => {
  const strategy = key === undefined ? undefined : table.get(key)
  return key === undefined || strategy === undefined ? undefined : [key, strategy]
}

export const planByTag = (handlers: object): Plan => {
  const table = tableOf(handlers)
  return { budgets: budgetsOf(table.values()), find: (error) => lookUp(table, tagOf(error)) }
}

export const planByCategory = (handlers: object): Plan => {
  const table = tableOf(handlers)
  return {
    budgets: budgetsOf(table.values()),
    find: (_, fault) => lookUp(table, fault().category) ?? lookUp(table, "otherwise")
  }
}

export const planForAll = (strategy: Strategy.For<never>): Plan => ({
  budgets: budgetsOf([strategy]),
  find: () => ["*", strategy]
})
