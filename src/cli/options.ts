import * as fs from "node:fs"
import * as os from "node:os"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { messageOf } from "../resilience/Foreign.js"
import { checked, millis } from "../resilience/internal/kernel/options.js"
import { type Ended, ended } from "./exit.js"

export const text = (name: string, description: string) => Options.text(name).pipe(Options.withDescription(description))

/** An option with a default, which its description names: the parser's help does not. */
export const textOr = (name: string, description: string, otherwise: string) =>
  text(name, `${description}. Default: ${otherwise}`).pipe(Options.withDefault(otherwise))

export const flag = (name: string, description: string) =>
  Options.boolean(name).pipe(Options.withDescription(description))

interface Bounds {
  readonly min: number
  readonly max: number
}

/** The parser's own message does not name the option. */
const wholeNumber =
  (option: string, { max, min }: Bounds) =>
  (given: string) => {
    const value = /^[+-]?\d+$/.test(given) ? Number(given) : Number.NaN
    const bounds = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
    return value >= min && value <= max
      ? Effect.succeed(value)
      : Effect.fail(
          ValidationError.invalidValue(HelpDoc.p(`--${option} must be a whole number ${bounds}, not "${given}".`))
        )
  }

/** A whole number of at least 0, unless the bounds say otherwise. */
export const integer = (name: string, description: string, otherwise: number, bounds: Partial<Bounds> = {}) =>
  text(name, `${description}. Default: ${otherwise}`).pipe(
    Options.withPseudoName("integer"),
    Options.mapEffect(wholeNumber(name, { min: 0, max: Number.MAX_SAFE_INTEGER, ...bounds })),
    Options.withDefault(otherwise)
  )

const orUndefined = <A>(option: Options.Options<A>): Options.Options<A | undefined> =>
  option.pipe(Options.optional, Options.map(Option.getOrUndefined))

export const optional = (name: string, description: string) => orUndefined(text(name, description))

export const optionalInteger = (name: string, description: string) =>
  orUndefined(
    text(name, description).pipe(
      Options.withPseudoName("integer"),
      Options.mapEffect(wholeNumber(name, { min: 0, max: Number.MAX_SAFE_INTEGER }))
    )
  )

const allChoices: Array<{ readonly name: string; readonly choices: ReadonlyArray<string> }> = []

const oneOf = <const A extends string>(name: string, choices: ReadonlyArray<A>, description: string) => {
  allChoices.push({ name, choices })
  return Options.choice(name, choices).pipe(Options.withDescription(description))
}

/**
 * The parser's message about a value that is no choice lists the choices without the option. This one names both. Nothing
 * for other messages.
 */
export const wrongChoice = (message: string, args: ReadonlyArray<string>): string | undefined => {
  const refused = message.replace(/\s+/g, " ")
  for (const { choices, name } of allChoices) {
    if (!refused.includes(`following cases: ${choices.join(", ")}`)) continue
    const at = args.findIndex((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`))
    const value = at < 0 ? undefined : args[at] === `--${name}` ? args[at + 1] : args[at]?.slice(name.length + 3)
    if (value !== undefined && !choices.some((choice) => choice === value)) {
      return `--${name} must be one of ${choices.join(", ")}, not "${value}".`
    }
  }
  return undefined
}

export const choice = <const A extends string>(name: string, choices: ReadonlyArray<A>, description: string) =>
  orUndefined(oneOf(name, choices, description))

/** A choice that takes the first value by default. */
export const choiceOrFirst = <const A extends string>(
  name: string,
  choices: readonly [A, ...ReadonlyArray<A>],
  description: string
) => oneOf(name, choices, `${description}. Default: ${choices[0]}`).pipe(Options.withDefault(choices[0]))

const pair =
  (option: string) =>
  (given: string): Effect.Effect<readonly [name: string, value: string], ValidationError.ValidationError> => {
    const end = given.indexOf("=")
    return end > 0
      ? Effect.succeed([given.slice(0, end), given.slice(end + 1)])
      : Effect.fail(ValidationError.invalidValue(HelpDoc.p(`--${option} must be NAME=VALUE, not "${given}".`)))
  }

/** Pairs such as `--label job=lint --label os=linux`. */
export const pairs = (name: string, description: string) =>
  text(name, description).pipe(
    Options.withPseudoName("NAME=VALUE"),
    Options.repeated,
    Options.mapEffect((given) => Effect.map(Effect.forEach(given, pair(name)), Object.fromEntries<string>))
  )

export const usage = (message: string): Ended => ended("Usage", message)

const units: Readonly<Record<string, string>> = { ms: "millis", s: "seconds", m: "minutes", h: "hours", d: "days" }

/** Reads a duration such as `2s`, `500ms` or `30 days`, of at least `min` milliseconds. */
export const duration = (option: string, given: string, min = 0): Effect.Effect<Duration.Duration, Ended> => {
  const spelled = given.replace(
    /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/,
    (_, n: string, unit: string) => `${n} ${units[unit]}`
  )
  return Effect.catchTag(
    // The type of an option is text; the decoder refuses what is no duration.
    checked(() => Duration.millis(millis(option, spelled as Duration.DurationInput, min))),
    "InvalidOption",
    () =>
      usage(
        `${option} must be a duration ${min === 0 ? "" : "greater than 0 "}such as "2s" or "30 days", not "${given}".`
      )
  )
}

/** Reads an age in milliseconds; it must be greater than 0. */
export const age = (option: string, given: string): Effect.Effect<number, Ended> =>
  Effect.map(duration(option, given, 1), Duration.toMillis)

/** Reads a time such as `2026-11-29` or `2026-11-29T10:00Z`, or how long ago it was, such as `2h`. */
export const moment = (option: string, given: string | undefined): Effect.Effect<Date | undefined, Ended> => {
  if (given === undefined) return Effect.succeed(undefined)
  if (/^\d{4}-/.test(given)) {
    const time = new Date(given)
    return Number.isNaN(time.getTime()) ? notMoment(option, given) : Effect.succeed(time)
  }
  const ago = Effect.zipWith(duration(option, given), Clock.currentTimeMillis, (ago, now) => {
    return new Date(now - Duration.toMillis(ago))
  })
  return Effect.orElse(ago, () => notMoment(option, given))
}

const notMoment = (option: string, given: string): Ended =>
  usage(`${option} must be a time such as "2026-11-29T10:00Z", or an age such as "2h" or "30 days", not "${given}".`)

/** Reads JSON from the option itself, or from the file in `@FILE`. */
export const readJson = (option: string, given: string): Effect.Effect<unknown, Ended> =>
  Effect.flatMap(given.startsWith("@") ? readText(option, given.slice(1)) : Effect.succeed(given), (text) =>
    Effect.try({
      try: (): unknown => JSON.parse(text),
      catch: (cause) =>
        usage(`${option} must be JSON in one word of the shell, such as '{"by":"ada"}': ${messageOf(cause)}`)
    })
  )

const readText = (option: string, file: string): Effect.Effect<string, Ended> =>
  Effect.try({
    try: () => fs.readFileSync(file, "utf8"),
    catch: (cause) => usage(`${option} cannot be read from the file "${file}": ${messageOf(cause)}`)
  })

/** The name of the user; a container may have none. */
export const userName = (): string => {
  try {
    return os.userInfo().username
  } catch {
    return process.env.USER ?? "unknown"
  }
}

/** In bytes. Only the end of a log is kept, so no more is read of a large file. */
const maxLogSize = 64 * 1024

/** A socket or a terminal cannot be opened by these names, but it can be read. */
const standardInput = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"]

/** Reads the end of a log: a file, a pipe such as `<(command)`, or standard input for `-`. */
export const readLog = (name: string): Effect.Effect<string, Ended> => {
  const isInput = standardInput.includes(name)
  return Effect.tryPromise({
    try: () => endOfStream(isInput ? process.stdin : streamOf(name)),
    catch: (cause) => usage(`The log ${isInput ? "from standard input" : name} cannot be read: ${messageOf(cause)}`)
  })
}

/** The size of a pipe or of a file in /proc is 0: a size only says where reading may start, the stream where it ends. */
const streamOf = (name: string): fs.ReadStream => {
  const status = fs.statSync(name)
  return fs.createReadStream(
    name,
    status.isFile() && status.size > maxLogSize ? { start: status.size - maxLogSize } : {}
  )
}

const endOfStream = async (stream: NodeJS.ReadableStream): Promise<string> => {
  let end = Buffer.alloc(0)
  for await (const chunk of stream) end = Buffer.concat([end, Buffer.from(chunk)]).subarray(-maxLogSize)
  return end.toString("utf8")
}
