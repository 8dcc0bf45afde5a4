import * as FastCheck from "effect/FastCheck"
import type { Storage } from "effect-recovery"
import { inTurns } from "../../support/simulation.js"
import { faultsOf } from "./check.js"
import { type Case, cases } from "./program.js"
import { show } from "./show.js"
import { type History, simulate } from "./simulate.js"
import { smaller } from "./smaller.js"

/** Simulates a program with its stops, and without them. Returns what is wrong, and what happened. */
export const judge = async (
  one: Case,
  storeFor: () => readonly [Storage.Store, string],
  rest: () => Promise<void>
): Promise<{ readonly faults: ReadonlyArray<string>; readonly history: History }> => {
  const undisturbed = { ...one, stops: [] }
  const calm = await simulate(undisturbed, ...storeFor(), rest)
  const first = faultsOf(undisturbed, calm)
  if (first.length > 0) return { faults: first.map((fault) => `without any stop: ${fault}`), history: calm }
  const history = await simulate(one, ...storeFor(), rest)
  return { faults: faultsOf(one, history, calm), history }
}

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

const mostTries = 3_000

export interface Found {
  readonly number: number
  readonly one: Case
  readonly faults: ReadonlyArray<string>
  readonly history: History
}

/** Tries random programs, and returns the first that goes wrong, made small. */
export const hunt = (options: {
  readonly runs: number
  readonly seed: number
  readonly storeFor: () => readonly [Storage.Store, string]
  readonly accepts?: (one: Case) => boolean
  readonly onFound?: (found: Found) => boolean
}): Promise<Found | undefined> =>
  inTurns(async (rest) => {
    const { accepts = () => true, runs, seed, storeFor } = options
    const wrong = async (one: Case) => (await judge(one, storeFor, rest)).faults.length > 0
    for (const [number, one] of FastCheck.sample(cases, { numRuns: runs, seed }).entries()) {
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
