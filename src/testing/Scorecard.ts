/**
 * What crashes did to a workflow: compared with a run that nobody disturbed.
 *
 * @since 0.1.0
 */
import type * as Storage from "../storage/Storage.js"
import type { Line } from "./Ledger.js"

/**
 * Something that went otherwise than without the crash.
 *
 * @since 0.1.0
 * @category models
 */
export interface Finding {
  /** Where the process ended, such as `before write 7`. */
  readonly crash: string
  /** What it is about: an effect of the ledger, or the outcome. */
  readonly what: string
  readonly expected: string
  readonly actual: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Scorecard {
  /** Processes that ended in the middle. */
  readonly crashes: number
  /** Effects that happened again, and which the run itself reports as ambiguous. */
  readonly ambiguous: number
  /** Effects that happened too often without the run knowing of it. */
  readonly duplicated: ReadonlyArray<Finding>
  /** Effects that did not happen. */
  readonly lost: ReadonlyArray<Finding>
  /** Compensations that did not run. */
  readonly undosMissed: ReadonlyArray<Finding>
  /** Compensations that ran again after they were on record. */
  readonly undosDoubled: ReadonlyArray<Finding>
  /** Outcomes that were others than without a crash, such as another error. */
  readonly outcomes: ReadonlyArray<Finding>
}

/**
 * Whether there is nothing to complain about.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isClean = (card: Scorecard): boolean =>
  [card.duplicated, card.lost, card.undosMissed, card.undosDoubled, card.outcomes].every(({ length }) => length === 0)

/**
 * How one run ended, and what it left behind.
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
 * Adds what a crash led to.
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

interface Difference {
  readonly kind: "ambiguous" | "duplicated" | "lost" | "undoMissed" | "undoDoubled"
  readonly what: string
  readonly expected: string
  readonly actual: string
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
  const linesOf = ({ ledger }: Observation) => ledger.filter((line) => line.effect === effect && line.kind === kind)
  const wanted = linesOf(undisturbed).length
  const lines = linesOf(observed)
  // An attempt of which nobody knows may have done all it does, however much that is.
  const perAttempt = Math.max(1, wanted)
  const known = reported(observed, lines, kind) * (kind === "done" ? perAttempt : 1)
  const undone = linesOf2(observed, effect, "undone") - linesOf2(undisturbed, effect, "undone")
  const found: { readonly what: string; readonly expected: string; readonly actual: string } = {
    what: `${effect} ${kind}`,
    expected: `${wanted} times`,
    actual: `${lines.length} times`
  }
  const isUndo = kind === "undone"
  if (lines.length < wanted) return [{ ...found, kind: isUndo ? "undoMissed" : "lost" }]
  if (lines.length === wanted) return []
  // What was done again because all of it had been undone is no duplicate.
  const excess = lines.length - wanted - (isUndo ? 0 : Math.max(0, undone))
  if (excess <= known) return [{ ...found, kind: "ambiguous" }]
  return [{ ...found, kind: isUndo ? "undoDoubled" : "duplicated" }]
}

const linesOf2 = ({ ledger }: Observation, effect: string, kind: Line["kind"]): number =>
  ledger.filter((line) => line.effect === effect && line.kind === kind).length

/** How often the journal says that nobody knows: of the steps, or of their compensations. */
const reported = ({ journal }: Observation, lines: ReadonlyArray<Line>, kind: Line["kind"]): number => {
  const steps = new Set(lines.map(({ step }) => step))
  const about = journal.filter(({ step }) => steps.has(step))
  if (kind === "done") return about.filter(({ kind }) => kind === "StepAmbiguous").length
  // Begun, and begun again: the first time nobody saw the end.
  const undos = about.filter(({ kind }) => kind.startsWith("Undo"))
  return undos.filter((entry, i) => {
    const next = undos.slice(i + 1).find(({ step }) => step === entry.step)
    return entry.kind === "UndoStarted" && next?.kind === "UndoStarted"
  }).length
}

/**
 * The card as lines of text, for a screen.
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
