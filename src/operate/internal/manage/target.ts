import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import { CheckpointNotFound } from "../../../durable/CheckpointError.js"
import { infoOf } from "../../../durable/internal/checkpoint/info.js"
import { isWhole } from "../../../durable/internal/checkpoint/whole.js"
import { sharedKind } from "../../../durable/internal/state/global.js"
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

/** By its id, whatever its name. */
export const findCheckpoint = (id: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const key = Number(id)
    const found = String(key) === id ? yield* storage.snapshot(key) : Option.none()
    // A value that runs share is kept as a snapshot, too, and is no checkpoint.
    return Option.isSome(found) && found.value.kind !== sharedKind
      ? infoOf(found.value)
      : yield* new CheckpointNotFound({ id, checkpoint: "any" })
  })

/**
 * Checkpoints of the failure's run, or of its repository and commit, newest
 * first: the one that was asked for, or those from before it.
 */
export const candidatesOf = ({ detectedAt, labels, run }: FailureRecord, inRun: boolean, wanted: string | undefined) =>
  Effect.gen(function* () {
    if (wanted !== undefined) {
      const info = yield* findCheckpoint(wanted)
      return inRun && info.run !== run ? [] : [info]
    }
    // One of the same millisecond came before it: a failure is the last thing that happens.
    const before = new Date(detectedAt.getTime() + 1)
    if (inRun && run !== undefined) return (yield* Checkpoint.list({ run, before })).slice(0, tries)
    const known = pick(labels, ["repository", "commit"])
    if (Object.keys(known).length === 0) return []
    const all = yield* Checkpoint.list({ before, labels: known })
    // What was saved of failures is nothing to go back to.
    return all.filter(({ kind }) => kind !== failurePoint).slice(0, tries)
  })

export const failurePoint = "failure_point"

/** How many are looked at for one that is valid. */
const tries = 10

const pick = (labels: Readonly<Record<string, string>>, names: ReadonlyArray<string>) =>
  Object.fromEntries(Object.entries(labels).filter(([name]) => names.includes(name)))

export type AnyCheck = Checkpoint.Check<unknown>

/** By its own checks, or, where its definition was not given, by its bytes and these. */
export const validate = (
  definitions: ReadonlyArray<AnyCheckpoint>,
  checks: ReadonlyArray<AnyCheck>,
  info: Checkpoint.Info
) => {
  const definition = definitions.find(({ name }) => name === info.name)
  const validity = definition === undefined ? byBytes(info, checks) : definition.validate(info.id)
  return Effect.map(validity, toValidated)
}

const byBytes = (info: Checkpoint.Info, checks: ReadonlyArray<AnyCheck>) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const isSound = yield* isWhole(storage, info.id)
    const found = yield* Effect.forEach(checks, ({ check, name, severity }) =>
      Effect.map(check(info), (findings) => findings.map((finding) => ({ check: name, severity, ...finding })))
    )
    const problems: ReadonlyArray<Checkpoint.Problem> = [
      ...(isSound ? [] : [problem("integrity", "error", info.id, "its bytes are not those that were saved")]),
      ...(info.size <= emptyState ? [problem("state", "warning", info.name, "it is empty")] : []),
      ...(Object.keys(info.environment).length === 0
        ? [problem("environment", "warning", info.name, "none was recorded")]
        : []),
      ...found.flat()
    ]
    const errors = problems.filter(({ severity }) => severity === "error")
    const warnings = problems.filter(({ severity }) => severity === "warning")
    const checkedAt = new Date(yield* Clock.currentTimeMillis)
    return { isValid: errors.length === 0, errors, warnings, checkedAt } satisfies Checkpoint.Validity
  })

/** `{}`, `[]` or `""`. */
const emptyState = 2

const problem = (
  check: string,
  severity: Checkpoint.Problem["severity"],
  subject: string,
  message: string
): Checkpoint.Problem => ({ check, severity, subject, message })

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
