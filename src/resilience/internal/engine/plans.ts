import type * as Strategy from "../../Strategy.js"
import { tagOf } from "../fault/subject.js"
import type { Found, Plan } from "./session.js"

type Table = ReadonlyMap<string, Strategy.For<never>>

/** A handler that is left out at run time leaves its failures alone. */
const tableOf = (handlers: object): Table => {
  // The callers' types say that the values are strategies, or left out.
  const entries = Object.entries(handlers) as ReadonlyArray<readonly [string, Strategy.For<never> | undefined]>
  return new Map(entries.flatMap(([key, strategy]) => (strategy === undefined ? [] : [[key, strategy] as const])))
}

/** Each budget once, however many strategies are paid from it. */
const budgetsOf = (strategies: Iterable<Strategy.For<never>>): Plan["budgets"] => [
  ...new Set([...strategies].flatMap(({ budgets }) => budgets))
]

const found = (table: Table, key: string | undefined): Found | undefined => {
  const strategy = key === undefined ? undefined : table.get(key)
  return key === undefined || strategy === undefined ? undefined : [key, strategy]
}

export const byTag = (handlers: object): Plan => {
  const table = tableOf(handlers)
  return { budgets: budgetsOf(table.values()), find: (error) => found(table, tagOf(error)) }
}

export const byCategory = (handlers: object): Plan => {
  const table = tableOf(handlers)
  return {
    budgets: budgetsOf(table.values()),
    find: (_, fault) => found(table, fault().category) ?? found(table, "otherwise")
  }
}

export const always = (strategy: Strategy.For<never>): Plan => ({
  budgets: budgetsOf([strategy]),
  find: () => ["*", strategy]
})
