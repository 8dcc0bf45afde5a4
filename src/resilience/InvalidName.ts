/**
 * The error of an id or a name that cannot be used. All doors that take one
 * refuse it by this error.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/**
 * An id or a name cannot be used: it is empty, is not well-formed Unicode
 * (contains half of a surrogate pair), contains NUL, or has more than 4,096
 * characters. A database would change it or cut it off. Nothing was done.
 *
 * Functions that return no effect, such as `Step.make`, throw this error.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidName extends Data.TaggedError("InvalidName")<{
  /** What it names, such as `run` or `step`. */
  readonly what: string
  readonly value: string
  /** `Reserved`: checkpoints may not be named like the values of shared \`State\`. */
  readonly reason: "Empty" | "NotWellFormed" | "Nul" | "TooLong" | "Reserved"
}> {
  override get message(): string {
    // JSON shows half of a surrogate pair and NUL as escapes.
    const shown = this.value.length > 60 ? `${JSON.stringify(this.value.slice(0, 60))}…` : JSON.stringify(this.value)
    const messages = {
      Empty: `The name or id of a ${this.what} is empty. Give at least one character.`,
      NotWellFormed: `The name or id ${shown} of a ${this.what} contains half of a surrogate pair, which a database changes. Cut texts with Array.from(text), not with slice.`,
      Nul: `The name or id ${shown} of a ${this.what} contains the character NUL, at which a database cuts it off. Remove it.`,
      Reserved: `The name ${shown} of a ${this.what} begins with "${reservedPrefix}", which is reserved for shared State. Choose another name.`,
      TooLong: `The name or id ${shown} of a ${this.what} has ${this.value.length} characters. Give at most ${maxLength}, such as a digest of the text.`
    }
    return messages[this.reason]
  }
}

const maxLength = 4_096

/**
 * The names of snapshots begin with it that are values of shared State.
 *
 * @internal
 */
export const reservedPrefix = "state/"

/**
 * The name of a checkpoint. Throws if it cannot be used.
 *
 * @internal
 */
export const checkCheckpointName = (name: string): string => {
  if (name.startsWith(reservedPrefix)) throw new InvalidName({ what: "checkpoint", value: name, reason: "Reserved" })
  return checkName("checkpoint", name)
}

/**
 * Why this cannot be the name or id of such a thing; `undefined` if it can.
 *
 * @internal
 */
export const invalidName = (what: string, value: string): InvalidName | undefined => {
  const reason = value === "" ? "Empty" : value.length > maxLength ? "TooLong" : unfit(value)
  return reason === undefined ? undefined : new InvalidName({ what, value, reason })
}

/** Control characters and surrogates: most texts have neither. */
const rare = /[\0\ud800-\udfff]/

const unfit = (value: string): "Nul" | "NotWellFormed" | undefined => {
  if (!rare.test(value)) return undefined
  if (value.includes("\0")) return "Nul"
  return /\p{Surrogate}/u.test(value) ? "NotWellFormed" : undefined
}

/**
 * The name itself. Throws if it cannot be used.
 *
 * @internal
 */
export const checkName = (what: string, value: string): string => {
  const invalid = invalidName(what, value)
  if (invalid !== undefined) throw invalid
  return value
}

/**
 * Fails if an id, or a key or value of labels, cannot be used. Values of labels may be empty.
 *
 * @internal
 */
export const checkedNames = (
  names: ReadonlyArray<readonly [what: string, value: string]>,
  labels: Readonly<Record<string, string>> | undefined
): Effect.Effect<void, InvalidName> => {
  for (const [what, value] of names) {
    const invalid = invalidName(what, value)
    if (invalid !== undefined) return Effect.fail(invalid)
  }
  // Most runs have no labels.
  for (const key in labels) {
    const value = labels[key]
    const invalid = invalidName("label", key) ?? (value ? invalidName(`label "${key}"`, value) : undefined)
    if (invalid !== undefined) return Effect.fail(invalid)
  }
  return Effect.void
}
