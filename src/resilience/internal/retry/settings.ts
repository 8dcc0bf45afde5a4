import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Either from "effect/Either"
import type { Jitter, RetryPolicy } from "../../RetryPolicy.js"
import * as config from "../config.js"

const jitters: ReadonlyArray<Jitter> = ["none", "full", "equal", "random", "decorrelated"]

const jitterConfig = Config.mapOrFail(Config.string("JITTER"), (text): Either.Either<Jitter, ConfigError> => {
  const kind = jitters.find((jitter) => jitter === text.trim())
  if (kind !== undefined) return Either.right(kind)
  const fraction = text.trim() === "" ? Number.NaN : Number(text)
  return Number.isNaN(fraction) ? config.invalid(text, `${jitters.join(", ")} or a fraction`) : Either.right(fraction)
})

/** The settings in the configuration; missing ones are undefined. */
const settings = Config.all({
  curve: Config.map(
    config.optional(config.oneOf("CURVE", "exponential", "linear", "fixed", "fibonacci", "byCategory", "none")),
    (curve) => curve ?? "exponential"
  ),
  maxRetries: config.optional(config.number("MAX_RETRIES")),
  initialDelay: config.optional(config.duration("INITIAL_DELAY")),
  maxDelay: config.optional(config.duration("MAX_DELAY")),
  factor: config.optional(config.number("FACTOR")),
  increment: config.optional(config.duration("INCREMENT")),
  jitter: config.optional(jitterConfig),
  maxElapsed: config.optional(config.duration("MAX_ELAPSED")),
  honourRetryAfter: config.optional(config.boolean("HONOUR_RETRY_AFTER"))
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

type Constructors = Readonly<Record<Settings["curve"], (options: Omit<Settings, "curve">) => RetryPolicy>>

/** Reads the settings, and builds the policy with the constructor of its curve. */
export const fromSettings = (constructors: Constructors): Config.Config<RetryPolicy> =>
  Config.mapOrFail(settings, (given) => {
    const unused = misplaced(given)
    if (unused !== undefined) return config.refusal(unused, `CURVE=${given.curve} does not use this setting; remove it`)
    const { curve, ...options } = given
    return config.built(
      () => constructors[curve](options),
      (option) => (option === "delay" ? "initialDelay" : option)
    )
  })
