import * as Cause from "effect/Cause"
import type { Reply } from "../../Operator.js"

type Refusal = Extract<Reply, { readonly ok: false }>

const kinds: Readonly<Record<string, Refusal["kind"]>> = {
  FailureNotFound: "NotFound",
  RecoveryNotFound: "NotFound",
  EscalationNotFound: "NotFound",
  CheckpointNotFound: "NotFound",
  RunNotFound: "NotFound",
  RecoveryRefused: "Refused",
  RecoveryUnderWay: "Refused",
  NotOpen: "Refused",
  InvalidRequest: "Refused",
  RewindRefused: "Refused",
  StorageError: "Storage",
  RecordDamaged: "Storage",
  LockError: "Storage"
}

const isTagged = (error: unknown): error is { readonly _tag: string; readonly message: string } =>
  error instanceof Error && "_tag" in error && typeof error._tag === "string"

export const refusalOf = (cause: Cause.Cause<unknown>): Refusal => {
  const error = Cause.squash(cause)
  const kind = Cause.isInterruptedOnly(cause) ? "Failed" : Cause.isFailure(cause) ? "Failed" : "Defect"
  if (isTagged(error))
    return {
      ok: false,
      kind: (Object.hasOwn(kinds, error._tag) ? kinds[error._tag] : undefined) ?? kind,
      tag: error._tag,
      message: error.message
    }
  const message = Cause.isInterruptedOnly(cause) ? "It was interrupted." : Cause.pretty(cause)
  return { ok: false, kind, tag: kind, message }
}
