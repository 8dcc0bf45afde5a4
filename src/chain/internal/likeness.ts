import * as Inspectable from "effect/Inspectable"

/** What two moments of chains are compared by. */
export interface Compared {
  readonly step: string
  readonly iteration: number
  readonly text: unknown
}

/** What a text is about shows in how it begins. */
const beginning = 200

const weights = { step: 0.4, iteration: 0.1, text: 0.5 }

/** How alike two moments are, 0 to 1: where they are, and what the texts begin with. */
export const likeness = (a: Compared, b: Compared): number =>
  (a.step === b.step ? weights.step : 0) +
  (a.iteration === b.iteration ? weights.iteration : 0) +
  weights.text * dice(piecesOf(a.text), piecesOf(b.text))

/** Threes of letters, so that words in another form still count. */
const piecesOf = (text: unknown): ReadonlySet<string> => {
  const written = typeof text === "string" ? text : text === undefined ? "" : Inspectable.toStringUnknown(text, 0)
  const letters = [...written.slice(0, beginning).toLowerCase().replace(/\s+/g, " ")]
  if (letters.length === 0) return new Set()
  return new Set(letters.slice(0, Math.max(1, letters.length - 2)).map((_, i) => letters.slice(i, i + 3).join("")))
}

/** The coefficient of Sørensen and Dice: twice what both have, by what each has. Two that are empty are alike. */
const dice = (a: ReadonlySet<string>, b: ReadonlySet<string>): number => {
  if (a.size + b.size === 0) return 1
  const shared = [...a].filter((piece) => b.has(piece)).length
  return (2 * shared) / (a.size + b.size)
}
