import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Fault from "../../../resilience/Fault.js"

/** A log may be as long as it likes: only its end is looked at. */
const looked = 20_000

const longest = 200

const errorLike = /\b(?:error|failed|failure|fatal|exception|traceback|panic|cannot|could not|refused|denied)\b/i

/** The last line that tells of an error, or the last one there is. */
export const messageIn = (log: string): string => {
  const lines = log
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
  const found = Arr.findLast(lines.slice(-100), (line) => errorLike.test(line))
  return Option.getOrElse(found, () => lines.at(-1) ?? "It failed, and said nothing.").slice(0, longest)
}

/** The log says what kind of failure it was; equal failures are told by their message alone. */
export const classifyWithLog = (failure: unknown, log: string | undefined): Effect.Effect<Fault.Fault> => {
  if (log === undefined) return Fault.classify(failure)
  const end = log.slice(-looked)
  const said = typeof failure === "string" ? failure.trim() : failure
  const named = said === undefined || said === null || said === "" ? messageIn(end) : said
  return Effect.zipWith(Fault.classify(named), Fault.classify(`${textOf(named)}\n${end}`), (own, whole) => ({
    ...(own.confidence >= whole.confidence && own.category !== "unknown" ? own : whole),
    message: own.message,
    fingerprint: own.fingerprint
  }))
}

const textOf = (value: unknown): string => (value instanceof Error ? value.message : String(value))
