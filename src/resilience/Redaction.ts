/**
 * Redaction hides secrets in everything that people and other programs read:
 * messages of faults, records, timelines, logs, replies, arguments of commands
 * and webhooks. What a resume needs stays as its schema encodes it.
 *
 * Hidden by default: values of `Redacted`; passwords in URLs; query parameters,
 * keys, variables and options by their names (`password`, `secret`, `token`,
 * `apiKey`, …); headers by their names (`authorization`, `cookie`, `x-api-key`,
 * …); bearer tokens, JSON Web Tokens, private keys, and tokens of well known
 * forms. {@link layer} adds your own.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Foreign from "./Foreign.js"
import { checkOption } from "./internal/kernel/options.js"
import { argumentsRedactor } from "./internal/redaction/arguments.js"
import { redactText as defaultText, type RedactText, redactionKey } from "./internal/redaction/inForce.js"
import { redactLog } from "./internal/redaction/logs.js"
import { defaultNames, mark, type Names, nameTest } from "./internal/redaction/names.js"
import { textRedactor } from "./internal/redaction/text.js"
import { valueRedactor } from "./internal/redaction/values.js"

/**
 * What is hidden beside the defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * What they match is hidden, such as `/\bcus_\w+/`. Each is applied to texts of
   * any length, so avoid nested repetitions. Empty matches are ignored.
   */
  readonly patterns?: ReadonlyArray<RegExp> | undefined
  /** Names of headers, in any case. */
  readonly headers?: ReadonlyArray<string> | undefined
  /**
   * Endings of names of keys, variables, parameters and options, whatever their
   * case and separators: `"pin code"` is the end of `USER_PIN_CODE` and `pinCode`.
   */
  readonly keys?: ReadonlyArray<string> | undefined
}

/**
 * Functions that hide secrets. They never throw, and redacting twice gives the
 * same as redacting once.
 *
 * @since 0.1.0
 * @category models
 */
export interface Redactor {
  /** Hides the secrets in a text. */
  readonly text: (text: string) => string
  /**
   * A copy of any value as JSON, without its secrets. Values that are too long,
   * too deep or cyclic are cut, and what JSON cannot hold becomes text.
   */
  readonly value: (value: unknown) => Foreign.Json
  /**
   * Hides the secrets in JSON of any size. JSON without secrets is returned as it
   * is. Texts and lists of texts below the keys in `kept`, such as ids, stay.
   */
  readonly json: (json: Foreign.Json, kept?: ReadonlySet<string>) => Foreign.Json
  /** Hides the secrets in a command: the name of its program, then its arguments. */
  readonly arguments: (command: ReadonlyArray<string>) => ReadonlyArray<string>
  /** Another redactor, which hides more. */
  readonly and: (options: Options) => Redactor
}

const names = (option: string, given: ReadonlyArray<string> = []): ReadonlyArray<string> => {
  for (const name of given) {
    const isName = typeof name === "string" && /[\p{L}\p{N}]/u.test(name)
    checkOption(option, name, isName, "names with at least one letter or digit")
  }
  return given
}

const patterns = (given: ReadonlyArray<RegExp> = []): ReadonlyArray<RegExp> => {
  for (const pattern of given) checkOption("patterns", pattern, pattern instanceof RegExp, "regular expressions")
  return given
}

const build = (all: Names, own: ReadonlyArray<RegExp>, text: RedactText = textRedactor(all, own)): Redactor => {
  const test = nameTest(all)
  const json = valueRedactor(test, text)
  return {
    text,
    json,
    value: (value) => json(Foreign.toJson(value)),
    arguments: argumentsRedactor(test, text),
    and: (options) => {
      const endings = [...all.endings, ...names("keys", options.keys)]
      const headers = [...all.headers, ...names("headers", options.headers)]
      return build({ endings, headers }, [...own, ...patterns(options.patterns)])
    }
  }
}

const defaults = build(defaultNames, [], defaultText)

/**
 * A redactor with the defaults and your own patterns, for use outside of the
 * library. An empty name and a pattern that is no `RegExp` throw `InvalidOption`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Redactor => defaults.and(options)

/**
 * The redactor in force. Defaults to the built-in names and forms; add your own
 * with {@link layer}.
 *
 * @since 0.1.0
 * @category services
 */
export class Redaction extends Context.Reference<Redaction>()(redactionKey, {
  defaultValue: (): Redactor => defaults
}) {}

/**
 * Adds to what is hidden by the redactor in force. Pass everything to one layer,
 * since merging two such layers keeps only one.
 *
 * @example
 * ```ts
 * import { Fault, Redaction } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const secrets = Redaction.layer({ patterns: [/\bcus_\w+/], headers: ["x-tenant"], keys: ["pin code"] })
 *
 * const fault = Fault.classify(new Error("no access for cus_81 with pin_code=4711 at https://me:pw@bank.example"))
 * fault.pipe(
 *   Effect.map(({ message }) => message),
 *   Effect.provide(secrets),
 *   Effect.runPromise
 * ).then(console.log)
 * // no access for <redacted> with pin_code=<redacted> at https://me:<redacted>@bank.example
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<never> => {
  // A wrong option is refused here, and not when the layer is built.
  make(options)
  return Layer.effect(
    Redaction,
    Effect.map(Redaction, (inForce) => inForce.and(options))
  )
}

/**
 * Hides the secrets that the defaults know in a text.
 *
 * @example
 * ```ts
 * import { Redaction } from "effect-recovery"
 *
 * console.log(Redaction.redactText("GET https://api.example/v1?token=abc123 failed"))
 * // GET https://api.example/v1?token=<redacted> failed
 * ```
 *
 * @since 0.1.0
 * @category redacting
 */
export const redactText: (text: string) => string = defaultText

/**
 * A copy of any value as JSON, without the secrets that the defaults know. Never
 * throws.
 *
 * @since 0.1.0
 * @category redacting
 */
export const redactValue: (value: unknown) => Foreign.Json = defaults.value

/**
 * Hides the secrets that the defaults know in a command: the name of its
 * program, then its arguments.
 *
 * @example
 * ```ts
 * import { Redaction } from "effect-recovery"
 *
 * console.log(Redaction.redactArguments(["deploy", "--api-key", "k-123", "--region=eu"]).join(" "))
 * // deploy --api-key <redacted> --region=eu
 * ```
 *
 * @since 0.1.0
 * @category redacting
 */
export const redactArguments: (command: ReadonlyArray<string>) => ReadonlyArray<string> = defaults.arguments

/**
 * The keys below which the library's own JSON has ids and names. Records and replies are found by them, so they stay.
 *
 * @internal
 */
export const identities: ReadonlySet<string> = new Set([
  ...["id", "key", "name", "run", "workflow", "step", "recovery", "failure", "failures", "checkpoint", "escalation"],
  ...["fingerprint", "fingerprints", "transaction", "section", "cell", "signal", "lock", "owner", "repository", "runs"]
])

/**
 * A logger that receives messages, annotations, spans and causes without their
 * secrets, by the redactor of the fiber that logs.
 *
 * @example
 * ```ts
 * import { Redaction } from "effect-recovery"
 * import { Effect, Logger } from "effect"
 *
 * const layer = Logger.replace(Logger.defaultLogger, Redaction.logger(Logger.jsonLogger).pipe(Logger.withConsoleLog))
 *
 * Effect.log("calling https://me:pw@bank.example").pipe(Effect.annotateLogs({ token: "abc" }), Effect.provide(layer))
 * ```
 *
 * @since 0.1.0
 * @category logging
 */
export const logger = <A>(self: Logger.Logger<unknown, A>): Logger.Logger<unknown, A> =>
  Logger.make((options) => {
    const context = FiberRefs.getOrDefault(options.context, FiberRef.currentContext)
    return self.log(redactLog(options, Context.get(context, Redaction)))
  })

export {
  /**
   * What stands in the place of a secret.
   *
   * @since 0.1.0
   * @category models
   */
  mark
}
