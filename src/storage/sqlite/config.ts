import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { InvalidOption } from "../../resilience/InvalidOption.js"
import { millis } from "../../resilience/internal/kernel/options.js"
import { filenameProblem } from "./databaseFile.js"

/** Options of the program are refused by a defect, those of the configuration by a `ConfigError`. */
export const durationIn =
  (option: string, min: number) =>
  <A extends Duration.DurationInput | undefined>(value: A): Either.Either<A, ConfigError.ConfigError> => {
    try {
      if (value !== undefined) millis(option, value, min)
      return Either.right(value)
    } catch (error) {
      if (error instanceof InvalidOption) return Either.left(ConfigError.InvalidData([], error.message))
      throw error
    }
  }

export const busyTimeoutIn = durationIn("busyTimeout", 0)

/** The options of the client that have bounds. Each config knows the name of its setting; the options as a whole do not. */
export const clientFields = ({ busyTimeout, filename }: ClientFields): ClientFields => ({
  filename: Config.mapOrFail(filename, (filename) => {
    const problem = filenameProblem(filename)
    return problem === undefined ? Either.right(filename) : Either.left(ConfigError.InvalidData([], problem))
  }),
  ...(busyTimeout === undefined ? {} : { busyTimeout: Config.mapOrFail(busyTimeout, busyTimeoutIn) })
})

interface ClientFields {
  readonly filename: Config.Config<string>
  readonly busyTimeout?: Config.Config<Duration.DurationInput | undefined>
}
