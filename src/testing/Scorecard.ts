/**
 * The effects of crashes on a workflow, compared with a run without a crash.
 *
 * @since 0.1.0
 */
import type * as Storage from "../storage/Storage.js"
import type { Line } from "./Ledger.js"

/**
 * A difference from the run without a crash.
 *
 * @since 0.1.0
 * @category models
 */
export interface Finding {
  /** The crash point, such as `before write 7`. */
  readonly crash: string
  /** An effect of the ledger, or the outcome. */
  readonly what: string
  readonly expected: string
  readonly actual: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Scorecard {
  /** The number of processes that crashed. */
  readonly crashes: number
  /** The number of repeated effects that the run reports as ambiguous. */
  readonly ambiguous: number
  /** Effects that happened too often and are not reported as ambiguous. */
  readonly duplicated: ReadonlyArray<Finding>
  /** Effects that did not happen. */
  readonly lost: ReadonlyArray<Finding>
  /** Compensations that did not run. */
  readonly undosMissed: ReadonlyArray<Finding>
  /** Compensations that ran again after they were recorded. */
  readonly undosDoubled: ReadonlyArray<Finding>
  /** Outcomes that differ from the run without a crash, such as another error. */
  readonly outcomes: ReadonlyArray<Finding>
}

/**
 * Whether there are no findings. Ambiguous effects do not count.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isClean = (card: Scorecard): boolean =>
  [card.duplicated, card.lost, card.undosMissed, card.undosDoubled, card.outcomes].every(({ length }) => length === 0)

/**
 * The outcome of one run, its ledger and its journal.
 *
 * @since 0.1.0
 * @category models
 */
export interface Observation {
  readonly outcome: string
  readonly ledger: ReadonlyArray<Line>
  readonly journal: ReadonlyArray<Storage.Entry>
}

/**
 * An empty card.
 *
 * @since 0.1.0
 * @category constructors
 */
export const empty: Scorecard = {
  crashes: 0,
  ambiguous: 0,
  duplicated: [],
  lost: [],
  undosMissed: [],
  undosDoubled: [],
  outcomes: []
}

/**
 * Adds the findings of one crash.
 *
 * @since 0.1.0
 * @category combinators
 */
export const add = (card: Scorecard, crash: string, undisturbed: Observation, observed: Observation): Scorecard => {
  const differences = compare(undisturbed, observed).map((difference) => ({ ...difference, crash }))
  const of = (kind: Difference["kind"]): ReadonlyArray<Finding> =>
    differences.filter((difference) => difference.kind === kind).map(({ kind: _, ...finding }) => finding)
  const outcome =
    observed.outcome === undisturbed.outcome
      ? []
      : [{ crash, what: "outcome", expected: undisturbed.outcome, actual: observed.outcome }]
  return {
    crashes: card.crashes + 1,
    ambiguous: card.ambiguous + of("ambiguous").length,
    duplicated: [...card.duplicated, ...of("duplicated")],
    lost: [...card.lost, ...of("lost")],
    undosMissed: [...card.undosMissed, ...of("undoMissed")],
    undosDoubled: [...card.undosDoubled, ...of("undoDoubled")],
    outcomes: [...card.outcomes, ...outcome]
  }
}

interface Difference extends Omit<Finding, "crash"> {
  readonly kind: "ambiguous" | "duplicated" | "lost" | "undoMissed" | "undoDoubled"
}

const compare = (undisturbed: Observation, observed: Observation): ReadonlyArray<Difference> => {
  const names = new Set([...undisturbed.ledger, ...observed.ledger].map(({ effect }) => effect))
  return [...names].flatMap((effect) => [
    ...difference(effect, "done", undisturbed, observed),
    ...difference(effect, "undone", undisturbed, observed)
  ])
}

const difference = (
  effect: string,
  kind: Line["kind"],
  undisturbed: Observation,
  observed: Observation
): ReadonlyArray<Difference> => {
  const count = (of: Observation, kind: Line["kind"]) => linesOf(of, effect, kind).length
  const wanted = count(undisturbed, kind)
  const actual = count(observed, kind)
  if (actual === wanted) return []
  const found = { what: `${effect} ${kind}`, expected: `${wanted} times`, actual: `${actual} times` }
  const isUndo = kind === "undone"
  if (actual < wanted) return [{ ...found, kind: isUndo ? "undoMissed" : "lost" }]
  const ambiguous = ambiguities(observed, linesOf(observed, effect, kind), kind)
  // An ambiguous attempt may have had all of its effects.
  const allowed = isUndo ? ambiguous : ambiguous * Math.max(1, wanted)
  // Effects that were compensated and then happened again are no duplicates.
  const repeated = isUndo ? 0 : Math.max(0, count(observed, "undone") - count(undisturbed, "undone"))
  if (actual - wanted - repeated <= allowed) return [{ ...found, kind: "ambiguous" }]
  return [{ ...found, kind: isUndo ? "undoDoubled" : "duplicated" }]
}

const linesOf = ({ ledger }: Observation, effect: string, kind: Line["kind"]): ReadonlyArray<Line> =>
  ledger.filter((line) => line.effect === effect && line.kind === kind)

/** How many attempts of the steps or of their compensations are ambiguous according to the journal. */
const ambiguities = ({ journal }: Observation, lines: ReadonlyArray<Line>, kind: Line["kind"]): number => {
  const steps = new Set(lines.map(({ step }) => step))
  const about = journal.filter(({ step }) => steps.has(step))
  if (kind === "done") return about.filter(({ kind }) => kind === "StepAmbiguous").length
  // A compensation that started twice in a row: the end of the first attempt is unknown.
  const undos = about.filter(({ kind }) => kind.startsWith("Undo"))
  return undos.filter((entry, i) => {
    const next = undos.slice(i + 1).find(({ step }) => step === entry.step)
    return entry.kind === "UndoStarted" && next?.kind === "UndoStarted"
  }).length
}

/**
 * The card as lines of text.
 *
 * @since 0.1.0
 * @category conversions
 */
export const format = (card: Scorecard): string => {
  const rows: ReadonlyArray<readonly [label: string, value: string | number, details: ReadonlyArray<Finding>]> = [
    ["crashes", card.crashes, []],
    ["repeated, and reported as ambiguous", card.ambiguous, []],
    ["effects duplicated", card.duplicated.length, card.duplicated],
    ["effects lost", card.lost.length, card.lost],
    ["compensations missed", card.undosMissed.length, card.undosMissed],
    ["compensations doubled", card.undosDoubled.length, card.undosDoubled],
    ["other outcomes", card.outcomes.length, card.outcomes]
  ]
  const width = Math.max(...rows.map(([label]) => label.length))
  return rows
    .flatMap(([label, value, details]) => [
      `${label.padEnd(width)}  ${value}`,
      ...details.map(({ actual, crash, expected, what }) => `  ${crash}: ${what} ${actual}, expected ${expected}`)
    ])
    .join("\n")
}
