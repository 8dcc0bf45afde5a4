import * as Effect from "effect/Effect"
import type * as Strategy from "../../../resilience/Strategy.js"
import type * as Storage from "../../../storage/Storage.js"
import { counterName, counterParts, type LearningKey } from "../records/counters.js"
import { learningKeyOf } from "../records/recoveries.js"

/** How often a strategy recovered a failure, and how often it did not. */
export interface Tally {
  readonly successful: number
  readonly unsuccessful: number
}

export type Tallies = ReadonlyMap<string, Tally>

/** Tallies by strategy, from the widest key of a failure to the narrowest. */
export type Learned = readonly [category: Tallies, source: Tallies, fingerprint: Tallies]

const noTally: Tally = { successful: 0, unsuccessful: 0 }

/** The last two parts of a counter's name are the strategy and its result. */
export const talliesOf = (counters: ReadonlyArray<Storage.Counter>): Tallies => {
  const all = new Map<string, Tally>()
  for (const { name, value } of counters) {
    const [strategy = "", result] = counterParts(name).slice(-2)
    const { successful, unsuccessful } = all.get(strategy) ?? noTally
    const isGood = result === "good"
    all.set(strategy, {
      successful: successful + (isGood ? value : 0),
      unsuccessful: unsuccessful + (isGood ? 0 : value)
    })
  }
  return all
}

export const learnedOf = (storage: Storage.Service, { category, fingerprint, source }: LearningKey) => {
  const read = (level: string, key: string) =>
    Effect.map(storage.counters(`${counterName("learned", level, key)}/`), talliesOf)
  return Effect.all([
    read("category", category),
    source === "" ? Effect.succeed<Tallies>(new Map()) : read("step", source),
    read("fingerprint", fingerprint)
  ])
}

/** How many trials a prior counts as. */
const priorWeight = 4

/**
 * Estimates `(weight * prior + successes) / (weight + trials)` for the category, then for the step with that
 * result as prior, then for the fingerprint.
 */
export const estimate = (prior: number, strategy: string, learned: Learned): number =>
  learned.reduce((wider, tallies) => {
    const { successful, unsuccessful } = tallies.get(strategy) ?? noTally
    return (priorWeight * wider + successful) / (priorWeight + successful + unsuccessful)
  }, prior)

/** The number of recoveries an estimate rests on: those of the narrowest key that has any. */
export const casesOf = (strategy: string, learned: Learned): number =>
  learned.reduce((wider, tallies) => {
    const { successful, unsuccessful } = tallies.get(strategy) ?? noTally
    return successful + unsuccessful || wider
  }, 0)

/** The confidence and success assumed for a strategy that has no recoveries yet. */
export const priors: Readonly<Record<string, readonly [confidence: number, success: number]>> = {
  modify: [0.8, 0.7],
  restartIteration: [0.7, 0.6],
  retry: [0.6, 0.5],
  resume: [0.55, 0.6],
  restartFrom: [0.5, 0.6],
  skip: [0.4, 0.3],
  manual: [0.75, 0.6],
  abort: [0.65, 0],
  rollback: [0.35, 0.6],
  restart: [0.3, 0.9]
}

/** Orders strategies by estimated confidence. If the storage fails, keeps the order of the program. */
export const rankBy =
  (storage: Storage.Service): Strategy.Rank =>
  ({ fault: { category, fingerprint }, source }, names) =>
    Effect.match(learnedOf(storage, learningKeyOf({ ...source, category, fingerprint })), {
      onFailure: () => names,
      onSuccess: (learned) => {
        const confidenceOf = (name: string) => estimate(priors[name]?.[0] ?? 0.5, name, learned)
        return [...names].sort((a, b) => confidenceOf(b) - confidenceOf(a))
      }
    })
