import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { PolicyInvalid } from "../RecoveryError.js"

export const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

export const invalid = (text: string, expected: string) =>
  Either.left(ConfigError.InvalidData([], `Expected ${expected}, but got "${text}"`))

/** Config's own reads a blank as 0, and a negative duration as none. */
export const number = (name: string): Config.Config<number> =>
  Config.mapOrFail(Config.string(name), (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text)
    return Number.isNaN(value) ? invalid(text, "a number") : Either.right(value)
  })

export const duration = (name: string): Config.Config<Duration.Duration> =>
  Config.mapOrFail(Config.string(name), (text) => {
    const decoded = text.includes("-") ? Option.none() : Duration.decodeUnknown(text.trim())
    return Option.isNone(decoded) ? invalid(text, `a duration such as "2 seconds"`) : Either.right(decoded.value)
  })

const settingOf = (option: string): string => option.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/** An option that makes no sense, under the name of its setting. */
export const refusal = (option: string, message: string) =>
  Either.left(ConfigError.InvalidData([settingOf(option)], message))

/** What a constructor refuses, the configuration does; `settingFor` says which setting an option comes from. */
export const built = <A>(
  build: () => A,
  settingFor: (option: string) => string = (option) => option
): Either.Either<A, ConfigError.ConfigError> => {
  try {
    return Either.right(build())
  } catch (error) {
    if (error instanceof PolicyInvalid) return refusal(settingFor(error.option), error.message)
    throw error
  }
}
