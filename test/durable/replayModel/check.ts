import { type Expected, expect } from "./expected.js"
import type { Case } from "./program.js"
import type { History, Line } from "./simulate.js"

/** What a history does that no execution of its program may do. Empty if it is right. */
export const faultsOf = (one: Case, history: History, calm?: History): ReadonlyArray<string> => {
  const expected = expect(one)
  const faults: Array<string> = []
  if (history.outcome !== expected.outcome) {
    return [`the outcome is "${history.outcome}" instead of "${expected.outcome}"`]
  }
  faults.push(...effectsOf(history, expected))
  faults.push(...repeatsOf(history, expected))
  faults.push(...decisionsOf(history, expected))
  faults.push(...compensationsOf(history, expected))
  // A backoff that is slept again costs at least its own time. An interruption restarts transactions, and their backoffs.
  const isResumed = expected.inTransaction.size === 0 || one.stops.every(({ kind }) => kind === "crash")
  if (calm !== undefined && isResumed && history.elapsed > calm.elapsed + slack) {
    faults.push(`it takes ${history.elapsed} ms instead of ${calm.elapsed} ms: a backoff was slept again`)
  }
  return faults
}

const slack = 15_000

const count = (lines: ReadonlyArray<Line>, kind: Line["kind"], name: string) =>
  lines.filter((line) => line.kind === kind && line.name === name).length

/** The same effects are completed, in an order that the program allows. */
const effectsOf = ({ lines }: History, { optional, orders, required, ties }: Expected) => {
  const faults: Array<string> = []
  for (const [name, times] of required) {
    const ends = count(lines, "end", name)
    // An attempt of which the process did not learn that it failed is not repeated by the step's retry.
    if (ends < times) faults.push(`step ${name} ended ${ends} times instead of ${times}`)
  }
  for (const { name } of lines) {
    if (!required.has(name) && !optional.has(name)) faults.push(`step ${name} ran, which the program does not reach`)
  }
  for (const tells of ties) {
    const told = tells.filter((name) => count(lines, "begin", name) > 0)
    if (told.length > 1) faults.push(`a race was won by several branches: ${told.join(" and ")} began`)
  }
  for (const { first, then } of orders) {
    const begun = lines.findIndex(({ kind, name }) => kind === "begin" && then.includes(name))
    if (begun === -1) continue
    for (const name of first) {
      const ended = lines.findIndex((line) => line.kind === "end" && line.name === name)
      if (ended === -1 || ended > begun) faults.push(`step ${lines[begun]?.name} began before step ${name} had ended`)
    }
  }
  return [...new Set(faults)]
}

/** A step begins again only where an attempt was cut short, and then it is shown as ambiguous. */
const repeatsOf = ({ lines, status }: History, { inTransaction }: Expected) => {
  if (status === undefined) return ["the status of the run cannot be read"]
  const faults: Array<string> = []
  for (const key of new Set(lines.map(({ key }) => key))) {
    const ofKey = lines.filter((line) => line.key === key)
    const name = ofKey[0]?.name ?? ""
    const begins = ofKey.filter(({ kind }) => kind === "begin").length
    const found = status.steps.find((step) => step.key === key)
    // An interruption restarts transactions, and the journal forgets what was before.
    if (inTransaction.has(name)) continue
    const ambiguous = found?.ambiguous.length ?? 0
    const attempts = found?.attempts ?? 1
    if (begins > attempts) faults.push(`step ${key} began ${begins} times, and ${attempts} are on record`)
    const ends = ofKey.filter(({ kind }) => kind === "end").length
    if (ends > attempts || (begins > 1 && found?.status === "completed" && begins - 1 > ambiguous + failedOf(ofKey)))
      faults.push(`step ${key} began ${begins} times, and only ${ambiguous} attempts are shown as ambiguous`)
  }
  return faults
}

/** Attempts that ended, or died, before another one began. */
const failedOf = (lines: ReadonlyArray<Line>): number => lines.filter(({ kind }) => kind === "end").length

/** No branch that has lost begins anything. */
const decisionsOf = ({ lines }: History, { decisions }: Expected) => {
  const faults: Array<string> = []
  for (const { losers, then } of decisions) {
    const decided = lines.findIndex(({ kind, name }) => kind === "begin" && then.includes(name))
    if (decided === -1) continue
    for (const { kind, name } of lines.slice(decided + 1)) {
      if (kind === "begin" && losers.includes(name)) {
        faults.push(`step ${name} began in a branch that had lost: ${lines[decided]?.name} had begun before`)
      }
    }
  }
  return [...new Set(faults)]
}

/** What a transaction undid is undone, in reverse order; everything else is not. */
const compensationsOf = ({ lines, stopped }: History, { undone }: Expected) => {
  const faults: Array<string> = []
  for (const [name, isUndone] of undone) {
    const last = lines.filter((line) => line.name === name && line.kind !== "begin").at(-1)
    const begun = count(lines, "begin", name)
    if (isUndone && begun > 0 && last?.kind !== "undo") faults.push(`step ${name} was not compensated`)
    if (!isUndone && last?.kind === "undo") faults.push(`step ${name} was compensated, and its transaction succeeded`)
    // A compensation is registered before its step begins.
    if (count(lines, "undo", name) > Math.max(1, begun) + stopped) faults.push(`step ${name} was compensated too often`)
  }
  return [...faults, ...ordersOfUndos(lines)]
}

/** Of two steps, one of which ended before the other one began, the later one is compensated first. */
const ordersOfUndos = (lines: ReadonlyArray<Line>): ReadonlyArray<string> => {
  const faults: Array<string> = []
  const undos = [...lines.entries()].filter(([, { kind }]) => kind === "undo")
  for (const [i, [at, undo]] of undos.entries()) {
    const next = undos[i + 1]
    if (next === undefined || next[1].execution !== undo.execution || next[0] !== at + 1) continue
    const ended = lines.findLastIndex(({ kind, name }) => kind === "end" && name === undo.name)
    const begun = lines.slice(0, at).findLastIndex(({ kind, name }) => kind === "begin" && name === next[1].name)
    const first = lines.findIndex(({ kind, name }) => kind === "begin" && name === next[1].name)
    if (ended !== -1 && ended < first && first === begun && sectionOf(undo) === sectionOf(next[1])) {
      faults.push(`step ${undo.name} was compensated before step ${next[1].name}, which came later`)
    }
  }
  return faults
}

/** Undos have the idempotency key of their step, which begins with the workflow and the run. */
const sectionOf = ({ key }: Line): string => key.slice(0, key.lastIndexOf("/"))
