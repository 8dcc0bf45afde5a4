import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { InvalidOption } from "../InvalidOption.js"

export const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

export const invalid = (text: string, expected: string) =>
  Either.left(ConfigError.InvalidData([], `Expected ${expected}, but got "${text}"`))

/** A setting that is one of these texts. `Config.literal` would bring Effect's printer of values into every bundle. */
export const oneOf = <A extends string>(name: string, ...kinds: ReadonlyArray<A>): Config.Config<A> =>
  Config.mapOrFail(Config.string(name), (text) => {
    const found = kinds.find((kind) => kind === text)
    return found === undefined ? invalid(text, `one of ${kinds.join(", ")}`) : Either.right(found)
  })

const truths: ReadonlyArray<string> = ["true", "yes", "on", "1"]

/** As `Config.boolean`, which would bring the same along. */
export const boolean = (name: string): Config.Config<boolean> =>
  Config.map(oneOf(name, ...truths, "false", "no", "off", "0"), (text) => truths.includes(text))

/** Unlike `Config.number`, refuses a blank text instead of reading it as 0. */
export const number = (name: string): Config.Config<number> =>
  Config.mapOrFail(Config.string(name), (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text)
    return Number.isNaN(value) ? invalid(text, "a number") : Either.right(value)
  })

/** Unlike `Config.duration`, refuses a negative duration instead of reading it as zero. */
export const duration = (name: string): Config.Config<Duration.Duration> =>
  Config.mapOrFail(Config.string(name), (text) => {
    const decoded = text.includes("-") ? Option.none() : Duration.decodeUnknown(text.trim())
    return Option.isNone(decoded) ? invalid(text, `a duration such as "2 seconds"`) : Either.right(decoded.value)
  })

const settingOf = (option: string): string => option.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/** Refuses an invalid option, under the name of its setting. */
export const refusal = (option: string, message: string) =>
  Either.left(ConfigError.InvalidData([settingOf(option)], message))

/** Converts an `InvalidOption` of the constructor to a `ConfigError`. `settingFor` maps an option to its setting. */
export const built = <A>(
  build: () => A,
  settingFor: (option: string) => string = (option) => option
): Either.Either<A, ConfigError.ConfigError> => {
  try {
    return Either.right(build())
  } catch (error) {
    if (error instanceof InvalidOption) return refusal(settingFor(error.option), error.message)
    throw error
  }
}
