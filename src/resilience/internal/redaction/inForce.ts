/**
 * The redaction of texts in force. Classification and warnings need no more of `Redaction`, and what they do not import
 * is not in the bundle of a program that only retries and breaks circuits.
 */
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import type { Redactor } from "../../Redaction.js"
import { defaultNames } from "./names.js"
import { textRedactor } from "./text.js"

export type RedactText = Redactor["text"]

/** Hides what the defaults know. */
export const redactText: RedactText = textRedactor(defaultNames, [])

/** The key of the service `Redaction`. */
export const redactionKey = "effect-recovery/Redaction"

const Provided = Context.GenericTag<Redactor>(redactionKey)

/** As the `Redaction` of the context does. */
export const redactTextIn = (context: Context.Context<never>): RedactText => {
  const provided = Context.getOption(context, Provided)
  return Option.isSome(provided) ? provided.value.text : redactText
}
