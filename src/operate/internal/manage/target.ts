import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Checkpoint from "../../../remember/Checkpoint.js"
import { isWhole } from "../../../remember/internal/checkpoint/whole.js"
import * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import type { Validation } from "../../RecoveryRecord.js"

/** A checkpoint whose definition is known, so that its own checks are run. */
export type AnyCheckpoint = Pick<Checkpoint.Checkpoint<never, unknown, unknown>, "name" | "validate">

export interface Validated {
  readonly validation: Validation
  readonly corruptionDetected: boolean
  readonly warnings: ReadonlyArray<Checkpoint.Problem>
  readonly errors: ReadonlyArray<Checkpoint.Problem>
}

/**
 * Checkpoints of the failure's run, or of its repository and commit, newest
 * first: the one that was asked for, or those from before it.
 */
export const candidatesOf = (
  { detectedAt, labels, run }: FailureRecord,
  inRun: boolean,
  wanted: string | undefined
) => {
  // One of the same millisecond came before it: a failure is the last thing that happens.
  const before = wanted === undefined ? new Date(detectedAt.getTime() + 1) : undefined
  const all =
    inRun && run !== undefined
      ? Checkpoint.list({ run, before })
      : Checkpoint.list({ run: "any", before, labels: pick(labels, ["repository", "commit"]) })
  return Effect.map(all, (found) =>
    wanted === undefined ? found.slice(0, tries) : found.filter(({ id }) => id === wanted)
  )
}

/** How many are looked at for one that is valid. */
const tries = 10

const pick = (labels: Readonly<Record<string, string>>, names: ReadonlyArray<string>) =>
  Object.fromEntries(Object.entries(labels).filter(([name]) => names.includes(name)))

/** By its own checks, or, where its definition was not given, by its bytes alone. */
export const validate = (definitions: ReadonlyArray<AnyCheckpoint>, info: Checkpoint.Info) => {
  const definition = definitions.find(({ name }) => name === info.name)
  const validity = definition === undefined ? byBytes(info) : definition.validate(info.id)
  return Effect.map(validity, toValidated)
}

const byBytes = (info: Checkpoint.Info) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const whole = yield* isWhole(storage, info.id)
    const checkedAt = new Date(yield* Clock.currentTimeMillis)
    const problem = {
      check: "integrity",
      severity: "error" as const,
      subject: info.id,
      message: "its bytes are not those that were saved"
    }
    return { isValid: whole, errors: whole ? [] : [problem], warnings: [], checkedAt } satisfies Checkpoint.Validity
  })

const inLine = ({ check, message, subject }: Checkpoint.Problem): string => `${check} ${subject}: ${message}`

const toValidated = ({ checkedAt, errors, isValid, warnings }: Checkpoint.Validity): Validated => ({
  validation: {
    is_valid: isValid,
    errors: errors.map(inLine),
    warnings: warnings.map(inLine),
    checked_at: checkedAt
  },
  corruptionDetected: errors.some(({ check }) => check === "integrity"),
  errors,
  warnings
})
