import * as Effect from "effect/Effect"
import type * as Storage from "../../../storage/Storage.js"
import { type Met, nameOf, partsOf } from "../records/counts.js"

/** How often a strategy led to a good end, and how often it did not. */
export interface Tally {
  readonly good: number
  readonly bad: number
}

export type Tallies = ReadonlyMap<string, Tally>

/** What is known of the strategies in each of the places a failure belongs to, the widest first. */
export type Learned = readonly [category: Tallies, step: Tallies, fingerprint: Tallies]

const none: Tally = { good: 0, bad: 0 }

/** The last two parts of a counter's name are the strategy and how it ended. */
export const talliesOf = (counters: ReadonlyArray<Storage.Counter>): Tallies => {
  const all = new Map<string, Tally>()
  for (const { name, value } of counters) {
    const [strategy = "", how] = partsOf(name).slice(-2)
    const { bad, good } = all.get(strategy) ?? none
    all.set(strategy, how === "good" ? { good: good + value, bad } : { good, bad: bad + value })
  }
  return all
}

export const learnedOf = (storage: Storage.Service, { category, fingerprint, place }: Met) => {
  const read = (level: string, what: string) =>
    Effect.map(storage.counters(`${nameOf("learned", level, what)}/`), talliesOf)
  return Effect.all([
    read("category", category),
    place === "" ? Effect.succeed<Tallies>(new Map()) : read("step", place),
    read("fingerprint", fingerprint)
  ])
}

/** As many cases as a prior counts for. */
const k = 4

/**
 * `(k * prior + successes) / (k + trials)`, from the category over the step to
 * the fingerprint: what is known in a wider place is the prior in the narrower one.
 */
export const estimate = (prior: number, strategy: string, learned: Learned): number =>
  learned.reduce((wider, tallies) => {
    const { bad, good } = tallies.get(strategy) ?? none
    return (k * wider + good) / (k + good + bad)
  }, prior)

/** On how many cases an estimate rests: those of the narrowest place that has some. */
export const casesOf = (strategy: string, learned: Learned): number =>
  learned.reduce((wider, tallies) => {
    const { bad, good } = tallies.get(strategy) ?? none
    return good + bad === 0 ? wider : good + bad
  }, 0)
