import { clip, type Json, messageOf, read, safely, tagOf } from "../resilience/Foreign.js"
import type { Redactor } from "../resilience/Redaction.js"
import type { RunFailure } from "./RunStatus.js"
import { hideIn } from "./Secrets.js"

const maxLength = 2_000

/** The failure of a run in words without its secrets, from its recorded outcome. Needs no schema, and never throws. */
export const failureOf = (exit: string, redactor: Redactor): RunFailure => {
  const error = errorIn(safely(() => redactor.json(hideIn(JSON.parse(exit) as Json))))
  return { tag: tagOf(error), message: clip(redactor.text(inWords(error)), maxLength) }
}

/** The first error of an encoded cause. */
const errorIn = (cause: unknown): unknown => {
  const tag = tagOf(cause)
  if (tag === "Fail") return read(cause, "error")
  if (tag === "Die") return read(cause, "defect")
  return tag === "Sequential" || tag === "Parallel"
    ? (errorIn(read(cause, "left")) ?? errorIn(read(cause, "right")))
    : undefined
}

const inWords = (error: unknown): string => {
  if (error === undefined) return "its error cannot be read"
  const inner = { RecoveryExhausted: read(error, "error"), RollbackFailed: errorIn(read(error, "original")) }
  const tag = tagOf(error)
  if (tag === "RecoveryExhausted") return `Gave up after ${read(error, "attempts")} attempts: ${inWords(inner[tag])}`
  if (tag === "RollbackFailed")
    return `Transaction "${read(error, "transaction")}" was not rolled back completely. It failed with: ${inWords(inner[tag])}`
  if (typeof error !== "object" || error === null || read(error, "message") !== undefined) return messageOf(error)
  const { _tag, ...fields } = error as { readonly _tag?: unknown }
  const text = Object.keys(fields).length === 0 ? undefined : JSON.stringify(fields)
  return [tag, text].filter((part) => part !== undefined).join(" ")
}
