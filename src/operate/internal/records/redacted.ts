import * as Effect from "effect/Effect"
import { identities, Redaction } from "../../../resilience/Redaction.js"

/** The text of a record without secrets. The ids in it stay, since records are found by them. */
export const redactBody = (body: string): Effect.Effect<string> =>
  Effect.map(Redaction, ({ json }) => JSON.stringify(json(JSON.parse(body), identities)))

export const redactLabels = (labels: Readonly<Record<string, string>>) =>
  // Texts stay texts when they are redacted.
  Effect.map(Redaction, ({ json }) => json(labels, identities) as Readonly<Record<string, string>>)

/** Logs the message of a record without secrets. */
export const logRedacted = ({ message }: { readonly message: string }): Effect.Effect<void> =>
  Effect.flatMap(Redaction, ({ text }) => Effect.logWarning(text(message)))
