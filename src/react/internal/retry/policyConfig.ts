import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Jitter, RetryPolicy } from "../../RetryPolicy.js"
import { PolicyInvalid } from "./policy.js"

/** What stands in the configuration; what does not is undefined. */
export interface Settings {
  readonly curve: Curve
  readonly maxRetries: number | undefined
  readonly initialDelay: Duration.Duration | undefined
  readonly maxDelay: Duration.Duration | undefined
  readonly factor: number | undefined
  readonly increment: Duration.Duration | undefined
  readonly jitter: Jitter | undefined
  readonly maxElapsed: Duration.Duration | undefined
  readonly honourRetryAfter: boolean | undefined
}

const curves = ["exponential", "linear", "fixed", "fibonacci", "byCategory", "none"] as const
type Curve = (typeof curves)[number]

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

const invalid = (text: string, expected: string) =>
  Either.left(ConfigError.InvalidData([], `Expected ${expected}, but got "${text}"`))

/** Config's own reads a blank as 0, and a negative duration as none. */
const number = (name: string): Config.Config<number> =>
  Config.mapOrFail(Config.string(name), (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text)
    return Number.isNaN(value) ? invalid(text, "a number") : Either.right(value)
  })

const duration = (name: string): Config.Config<Duration.Duration> =>
  Config.mapOrFail(Config.string(name), (text) => {
    const decoded = text.includes("-") ? Option.none() : Duration.decodeUnknown(text.trim())
    return Option.isNone(decoded) ? invalid(text, `a duration such as "2 seconds"`) : Either.right(decoded.value)
  })

const jitters: ReadonlyArray<Jitter> = ["none", "full", "equal", "random", "decorrelated"]

const jitter = Config.mapOrFail(Config.string("JITTER"), (text): Either.Either<Jitter, ConfigError.ConfigError> => {
  const kind = jitters.find((jitter) => jitter === text.trim())
  if (kind !== undefined) return Either.right(kind)
  const fraction = text.trim() === "" ? Number.NaN : Number(text)
  return Number.isNaN(fraction) ? invalid(text, `${jitters.join(", ")} or a fraction`) : Either.right(fraction)
})

const settings: Config.Config<Settings> = Config.all({
  curve: Config.withDefault(Config.literal(...curves)("CURVE"), "exponential"),
  maxRetries: optional(number("MAX_RETRIES")),
  initialDelay: optional(duration("INITIAL_DELAY")),
  maxDelay: optional(duration("MAX_DELAY")),
  factor: optional(number("FACTOR")),
  increment: optional(duration("INCREMENT")),
  jitter: optional(jitter),
  maxElapsed: optional(duration("MAX_ELAPSED")),
  honourRetryAfter: optional(Config.boolean("HONOUR_RETRY_AFTER"))
})

/** A setting nobody would read is refused, except next to `none`: whoever switches retries off keeps the rest. */
const misplaced = ({ curve, ...options }: Settings): string | undefined => {
  const given = (Object.keys(options) as ReadonlyArray<keyof typeof options>).filter(
    (option) => options[option] !== undefined
  )
  const reads = (option: keyof typeof options): boolean =>
    option === "factor" ? curve === "exponential" : option === "increment" ? curve === "linear" : curve !== "byCategory"
  return curve === "none" ? undefined : given.find((option) => !reads(option))
}

const settingOf = (option: string): string => option.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/** `build` is the constructors' work, and its refusals are the configuration's. */
export const config = (build: (settings: Settings) => RetryPolicy): Config.Config<RetryPolicy> =>
  Config.mapOrFail(settings, (settings) => {
    const refuse = (option: string, message: string) =>
      Either.left(ConfigError.InvalidData([settingOf(option)], message))
    const alien = misplaced(settings)
    if (alien !== undefined) return refuse(alien, `It means nothing with CURVE=${settings.curve}; leave it out`)
    try {
      return Either.right(build(settings))
    } catch (error) {
      if (error instanceof PolicyInvalid)
        return refuse(error.option === "delay" ? "initialDelay" : error.option, error.message)
      throw error
    }
  })
