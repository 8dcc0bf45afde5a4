/** Redacts what a logger receives. */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as HashMap from "effect/HashMap"
import * as List from "effect/List"
import type * as Logger from "effect/Logger"
import * as LogSpan from "effect/LogSpan"
import * as Redacted from "effect/Redacted"
import { causeChain, isArray, isError, messageOf, prettyCause, printable, readString, safely } from "../../Foreign.js"
import type { Redactor } from "../../Redaction.js"

type Log = Logger.Logger.Options<unknown>

/** The texts of an error and its causes that a logger may print. */
const textsOf = (error: unknown): ReadonlyArray<string> =>
  causeChain(error).flatMap((link) => [messageOf(link), readString(link, "stack") ?? ""])

/** The cause as loggers can print it: itself if it holds no secret, else its description without them. */
export const redactCause = (cause: Cause.Cause<unknown>, redact: (text: string) => string): Cause.Cause<unknown> => {
  const errors = [...Cause.failures(cause), ...Cause.defects(cause)]
  if (errors.every((error) => textsOf(error).every((text) => redact(text) === text))) return printable(cause)
  const description = redact(prettyCause(cause))
  const error = new Error(description)
  // A logger prints the stack, which begins with the message. The stack of this place would only mislead.
  error.stack = description
  return Cause.die(error)
}

const redactPart = (part: unknown, redactor: Redactor): unknown => {
  if (typeof part === "string") return redactor.text(part)
  if (typeof part !== "object" || part === null || safely(() => Redacted.isRedacted(part)) === true) return part
  if (safely(() => Cause.isCause(part)) === true) return redactCause(part as Cause.Cause<unknown>, redactor.text)
  return isError(part) ? redactor.text(prettyCause(Cause.fail(part))) : redactor.value(part)
}

export const redactLog = (log: Log, redactor: Redactor): Log => ({
  ...log,
  message: isArray(log.message)
    ? Arr.map(log.message, (part) => redactPart(part, redactor))
    : redactPart(log.message, redactor),
  cause: Cause.isEmpty(log.cause) ? log.cause : redactCause(log.cause, redactor.text),
  annotations: HashMap.map(log.annotations, (value, name) => redactAnnotation(name, value, redactor)),
  spans: List.map(log.spans, ({ label, startTime }) => LogSpan.make(redactor.text(label), startTime))
})

/** The name of an annotation may tell that its value is a secret. */
const redactAnnotation = (name: string, value: unknown, redactor: Redactor): unknown => {
  if (typeof value === "string") return Object.values(redactor.json({ [name]: value }) as object)[0]
  if (typeof value !== "object" || value === null) return value
  return Object.values(redactor.json({ [name]: redactor.value(value) }) as object)[0]
}
