import * as FastCheck from "effect/FastCheck"
import type { Storage } from "effect-recovery"
import { inTurns } from "../../support/simulation.js"
import { faultsOf } from "./check.js"
import { type Case, calmed, cases, type Node, named } from "./program.js"
import { show } from "./show.js"
import { type History, simulate } from "./simulate.js"
import { smaller } from "./smaller.js"

/** A store, and a run that it does not have yet. */
export type StoreFor = () => readonly [Storage.Store, string]

interface Judged {
  readonly faults: ReadonlyArray<string>
  readonly history: History
}

/** Simulates a program without its stops. */
const judgeCalm = async (one: Case, storeFor: StoreFor, rest: () => Promise<void>): Promise<Judged> => {
  const undisturbed = { ...one, stops: [] }
  const history = await simulate(undisturbed, ...storeFor(), rest)
  return { faults: faultsOf(undisturbed, history).map((fault) => `without any stop: ${fault}`), history }
}

/** Simulates a program with its stops, and without them. Returns what is wrong, and what happened. */
const judge = async (one: Case, storeFor: StoreFor, rest: () => Promise<void>): Promise<Judged> => {
  const calm = await judgeCalm(one, storeFor, rest)
  if (calm.faults.length > 0) return calm
  const history = await simulate(one, ...storeFor(), rest)
  return { faults: faultsOf(one, history, calm.history), history }
}

/** Stops a program once at each of its writes, in every way. Returns the first stop after which it goes wrong. */
export const stopEverywhere = (body: Node, storeFor: StoreFor): Promise<Found | undefined> =>
  inTurns(async (rest) => {
    for (const by of ["caller", "worker"] as const) {
      const undisturbed: Case = { body: named(calmed(body)), by, stops: [], slowness: [1] }
      const calm = await judgeCalm(undisturbed, storeFor, rest)
      if (calm.faults.length > 0) return { number: 0, one: undisturbed, ...calm }
      for (const [kind, when] of ways) {
        for (let write = 1; ; write++) {
          const one: Case = { ...undisturbed, stops: [{ kind, when, write, outage: 1 }] }
          const history = await simulate(one, ...storeFor(), rest)
          const faults = faultsOf(one, history, calm.history)
          if (faults.length > 0) return { number: write, one, faults, history }
          if (history.stopped === 0) break
        }
      }
    }
    return undefined
  })

/** Simulates one program with its stops. */
export const tryOne = (one: Case, storeFor: StoreFor): Promise<Found | undefined> =>
  inTurns(async (rest) => {
    const judged = await judge(one, storeFor, rest)
    return judged.faults.length > 0 ? { number: 0, one, ...judged } : undefined
  })

const ways = [
  ["crash", "before"],
  ["crash", "after"],
  ["interrupt", "before"],
  ["leave", "before"]
] as const

/** Makes a failing program smaller as long as it fails. */
const shrink = async (one: Case, fails: (one: Case) => Promise<boolean>): Promise<Case> => {
  let current = one
  for (let tries = 0; tries < mostTries; ) {
    let found: Case | undefined
    for (const candidate of smaller(current)) {
      if (++tries > mostTries) break
      if (await fails(candidate)) {
        found = candidate
        break
      }
    }
    if (found === undefined) return current
    current = found
  }
  return current
}

const mostTries = 1_000

const skews = [5_000, -5_000, 0]

export interface Found {
  /** Of the random program, or of the write at which it was stopped. */
  readonly number: number
  readonly one: Case
  readonly faults: ReadonlyArray<string>
  readonly history: History
}

/** Tries random programs, and returns the first that goes wrong, made small. */
export const hunt = (options: {
  readonly runs: number
  readonly seed: number
  readonly storeFor: StoreFor
  readonly accepts?: (one: Case) => boolean
  readonly onFound?: (found: Found) => boolean
}): Promise<Found | undefined> =>
  inTurns(async (rest) => {
    const { accepts = () => true, runs, seed, storeFor } = options
    const wrong = async (one: Case) => (await judge(one, storeFor, rest)).faults.length > 0
    for (const [number, drawn] of FastCheck.sample(cases, { numRuns: runs, seed }).entries()) {
      // Every second program runs on processes whose clocks differ.
      const one = number % 2 === 0 ? drawn : { ...drawn, skews }
      if (!accepts(one) || !(await wrong(one))) continue
      const small = await shrink(one, wrong)
      const found = { number, one: small, ...(await judge(small, storeFor, rest)) }
      if (options.onFound?.(found) !== true) return found
    }
    return undefined
  })

export const report = ({ faults, history, number, one }: Found): string =>
  [
    `program ${number}: ${faults.join("; ")}`,
    "",
    show(one),
    "",
    ...history.lines.map(
      ({ at, execution, kind, key }) => `execution ${execution}, ${at - 1_000_000} ms: ${kind} ${key}`
    )
  ].join("\n")
