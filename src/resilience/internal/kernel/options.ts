import * as Duration from "effect/Duration"
import { PolicyInvalid } from "../../RecoveryError.js"
import type { Limits } from "./recovery.js"
import { toMillis } from "./timer.js"

/** Returns the value if it is valid, else throws. */
export const checkOption = <A>(option: string, value: A, isValid: boolean, expected: string): A => {
  if (isValid) return value
  throw new PolicyInvalid({ option, value, expected })
}

/** Returns the value if it is a finite number of at least `min`, else throws. */
export const number = (option: string, value: number, min: number): number =>
  checkOption(option, value, Number.isFinite(value) && value >= min, `a finite number of at least ${min}`)

/** Returns the value if it is a whole number from `min` to `max`, else throws. */
export const whole = (option: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): number => {
  const bounds = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  const isValid = Number.isInteger(value) && value >= min && value <= max
  return checkOption(option, value, isValid, `a finite whole number ${bounds}`)
}

/** Returns the value if it is above 0 and at most 1, else throws. */
export const share = (option: string, value: number): number =>
  checkOption(option, value, value > 0 && value <= 1, "a share above 0 and at most 1")

/** Returns the milliseconds of a finite duration of at least `min` ms, else throws. */
export const millis = (option: string, value: Duration.DurationInput, min = 0): number => {
  const decoded = toMillis(value)
  if (Number.isFinite(decoded) && decoded >= min) return decoded
  const bound = min === 0 ? "" : ` of at least ${min} ms`
  throw new PolicyInvalid({ option, value, expected: `a finite duration${bound} such as "2 seconds"` })
}

/** A timeout of zero would fail every attempt, so it throws while the program is built. */
export const checkTimeout = (value: Duration.DurationInput): Duration.Duration =>
  Duration.millis(millis("timeout", value, 1))

export const checkLimits = <L extends Limits>(limits: L | undefined): L | undefined => {
  if (limits?.maxDecisions !== undefined) whole("maxDecisions", limits.maxDecisions, 0)
  if (limits?.maxElapsed !== undefined) millis("maxElapsed", limits.maxElapsed)
  return limits
}
