import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import { isMarkedExhausted } from "../resilience/FaultRecord.js"
import { clip, type Json, messageOf, read, safely, tagAndFields, tagOf } from "../resilience/Foreign.js"
import { FailoverExhausted, RecoveryExhausted } from "../resilience/RecoveryError.js"
import type { Redactor } from "../resilience/Redaction.js"
import { GraphFailed } from "./RunError.js"
import type { OutcomeStatus, RunFailure } from "./RunStatus.js"
import { hideIn } from "./Secrets.js"

const maxLength = 2_000

/** The status of a run that ends by this failure. All its errors are those of recoveries that had no further option. */
export const statusOfFailure = (cause: Cause.Cause<unknown>): OutcomeStatus =>
  Cause.isDie(cause) || !Chunk.every(Cause.failures(cause), isExhausted) ? "failed" : "exhausted"

/** A recovery that was refused before it tried anything is not exhausted: its policy does not handle such a failure. */
const isExhausted = (error: unknown): boolean => {
  if (error instanceof RecoveryExhausted) return error.decisions.some(({ decision }) => decision !== "GiveUp")
  if (error instanceof GraphFailed) return error.failures.every(({ error }) => isExhausted(error))
  return error instanceof FailoverExhausted || isMarkedExhausted(error)
}

/**
 * The failure of a run in words without its secrets, from its recorded outcome. Needs no schema, and never throws. The
 * message is that of the recorded fault: the fields of an error need not hold its message.
 */
export const failureOf = (exit: string, redactor: Redactor): RunFailure => {
  const cause = safely(() => redactor.json(hideIn(JSON.parse(exit) as Json)))
  const first = firstIn(cause)
  const message = first?.isTyped === true ? read(read(read(cause, "faults"), 0), "message") : undefined
  const text = typeof message === "string" && message !== "" ? message : inWords(first?.error)
  return { tag: tagOf(first?.error), message: clip(redactor.text(text), maxLength) }
}

interface First {
  readonly error: unknown
  /** False for a defect. */
  readonly isTyped: boolean
}

/** The first error of an encoded cause. */
const firstIn = (cause: unknown): First | undefined => {
  const tag = tagOf(cause)
  if (tag === "Fail") return { error: read(cause, "error"), isTyped: true }
  if (tag === "Die") return { error: read(cause, "defect"), isTyped: false }
  return tag === "Sequential" || tag === "Parallel"
    ? (firstIn(read(cause, "left")) ?? firstIn(read(cause, "right")))
    : undefined
}

const errorIn = (cause: unknown): unknown => firstIn(cause)?.error

const inWords = (error: unknown): string => {
  if (error === undefined) return "its error cannot be read"
  const inner = { RecoveryExhausted: read(error, "error"), RollbackFailed: errorIn(read(error, "original")) }
  const tag = tagOf(error)
  if (tag === "RecoveryExhausted") return `Gave up after ${read(error, "attempts")} attempts: ${inWords(inner[tag])}`
  if (tag === "RollbackFailed")
    return `Transaction "${read(error, "transaction")}" was not rolled back completely. It failed with: ${inWords(inner[tag])}`
  if (typeof error !== "object" || error === null || read(error, "message") !== undefined) return messageOf(error)
  return tagAndFields(error) ?? JSON.stringify(error)
}
