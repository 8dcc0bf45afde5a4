import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import type { Jitter, RetryPolicy } from "../../RetryPolicy.js"
import { built, duration, invalid, number, optional, refusal } from "../config.js"

const curves = ["exponential", "linear", "fixed", "fibonacci", "byCategory", "none"] as const
const jitters: ReadonlyArray<Jitter> = ["none", "full", "equal", "random", "decorrelated"]

const jitter = Config.mapOrFail(Config.string("JITTER"), (text): Either.Either<Jitter, ConfigError.ConfigError> => {
  const kind = jitters.find((jitter) => jitter === text.trim())
  if (kind !== undefined) return Either.right(kind)
  const fraction = text.trim() === "" ? Number.NaN : Number(text)
  return Number.isNaN(fraction) ? invalid(text, `${jitters.join(", ")} or a fraction`) : Either.right(fraction)
})

/** The settings in the configuration; missing ones are undefined. */
const settings = Config.all({
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

type Settings = Config.Config.Success<typeof settings>

/** Finds a setting that the curve ignores. With `none` all are allowed, so that retries can be switched off alone. */
const misplaced = ({ curve, ...options }: Settings): string | undefined => {
  const given = (Object.keys(options) as ReadonlyArray<keyof typeof options>).filter(
    (option) => options[option] !== undefined
  )
  const reads = (option: keyof typeof options): boolean =>
    option === "factor" ? curve === "exponential" : option === "increment" ? curve === "linear" : curve !== "byCategory"
  return curve === "none" ? undefined : given.find((option) => !reads(option))
}

/** An option that `build` rejects becomes a `ConfigError`. */
export const config = (build: (settings: Settings) => RetryPolicy): Config.Config<RetryPolicy> =>
  Config.mapOrFail(settings, (settings) => {
    const unused = misplaced(settings)
    if (unused !== undefined) return refusal(unused, `CURVE=${settings.curve} does not use this setting; remove it`)
    return built(
      () => build(settings),
      (option) => (option === "delay" ? "initialDelay" : option)
    )
  })
