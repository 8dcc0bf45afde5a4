/**
 * The one place that decodes durations, counts and shares of the public API. `Duration.decode` turns NaN and negative
 * values into zero, which would hide a wrong option and, in an option that deletes, delete everything.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { InvalidOption } from "../../InvalidOption.js"
import { millisOrNaN } from "./duration.js"
import type { Limits } from "./session.js"

/** Returns the value if it is valid, else throws. */
export const checkOption = <A>(option: string, value: A, isValid: boolean, expected: string): A => {
  if (isValid) return value
  throw new InvalidOption({ option, value, expected })
}

/** A typed failure in place of the throw, for operations whose options people configure, such as those that delete. */
export const checked = <A>(decode: () => A): Effect.Effect<A, InvalidOption> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(decode())
    } catch (error) {
      return error instanceof InvalidOption ? Effect.fail(error) : Effect.die(error)
    }
  })

/** Returns the value if it is a number from `min` to 1,000,000,000, else throws. */
export const number = (option: string, value: number, min: number): number =>
  checkOption(option, value, value >= min && value <= 1e9, `a finite number from ${min} to 1,000,000,000`)

/** Returns the value if it is a whole number from `min` to `max`, else throws. */
export const whole = (option: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): number => {
  const bounds = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  const isValid = Number.isInteger(value) && value >= min && value <= max
  return checkOption(option, value, isValid, `a finite whole number ${bounds}`)
}

/** A whole number of either sign. */
export const wholeNumber = (option: string, value: number): number =>
  checkOption(option, value, Number.isSafeInteger(value), "a whole number")

/** The `limit` of a query; 100 by default. */
export const limit = (query: { readonly limit?: number | undefined } | undefined, otherwise = 100): number =>
  wholeOrInfinity("limit", query?.limit ?? otherwise, 0)

/** As {@link whole}, or Infinity for no limit. */
export const wholeOrInfinity = (option: string, value: number, min: number): number => {
  const isValid = value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && value >= min)
  return checkOption(option, value, isValid, `a whole number of at least ${min}, or Infinity`)
}

/** Returns the date if it is one, else throws: `new Date("tomorrow")` is no date, and compares with nothing. */
export const date = (option: string, value: Date): Date =>
  checkOption(option, value, value instanceof Date && !Number.isNaN(value.getTime()), "a valid date")

/** Permissions of a file. */
export const permissions = (mode: number): number =>
  checkOption("mode", mode, isMode(mode), "permissions such as 0o600")

const isMode = (mode: number): boolean => Number.isInteger(mode) && mode >= 0 && mode <= 0o7777

/** Returns the value if it is above 0 and at most 1, else throws. */
export const share = (option: string, value: number): number =>
  checkOption(option, value, value > 0 && value <= 1, "a share above 0 and at most 1")

/** Returns the value if it is from 0 to 1, else throws. */
export const fraction = (option: string, value: number): number =>
  checkOption(option, value, value >= 0 && value <= 1, "a number from 0 to 1")

/**
 * Whether a part of a whole reaches a share. The quotient is the double nearest to the exact value, and so is a share
 * such as 0.07; the product `share * whole` may lie above it.
 */
export const reachesShare = (part: number, whole: number, share: number): boolean => part / whole >= share

/** 100,000 years. A date plus a longer duration is no date. */
const maxMillis = 100_000 * 365.25 * 86_400_000

/** Returns the milliseconds of a finite duration of at least `min` ms, else throws. */
export const millis = (option: string, value: Duration.DurationInput, min = 0): number => {
  const decoded = millisOrNaN(value)
  if (decoded <= maxMillis && decoded >= min) return decoded
  const bounds = decoded > maxMillis ? " of at most 100,000 years" : min === 0 ? "" : ` of at least ${min} ms`
  throw new InvalidOption({ option, value, expected: `a finite duration${bounds} such as "2 seconds"` })
}

/** As {@link millis}, or Infinity for no limit. */
export const millisOrInfinity = (option: string, value: Duration.DurationInput, min = 0): number =>
  millisOrNaN(value) === Number.POSITIVE_INFINITY ? Number.POSITIVE_INFINITY : millis(option, value, min)

/**
 * Returns the milliseconds of an age beyond which something is removed. An age of zero is refused: it would remove
 * everything, and `Duration.days(NaN)` is zero.
 */
export const age = (option: string, value: Duration.DurationInput): number => millis(option, value, 1)

/** A timeout of zero would fail every attempt, so it throws while the program is built. */
export const checkTimeout = (value: Duration.DurationInput): Duration.Duration =>
  Duration.millis(millis("timeout", value, 1))

export const checkLimits = <L extends Limits>(limits: L | undefined): L | undefined => {
  if (limits?.maxDecisions !== undefined) whole("maxDecisions", limits.maxDecisions, 0)
  if (limits?.maxElapsed !== undefined) millis("maxElapsed", limits.maxElapsed)
  return limits
}
