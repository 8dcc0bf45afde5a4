import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Record from "effect/Record"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import { JournalError } from "../../../journal/RunError.js"
import { FailureRecord } from "../../FailureRecord.js"
import type { Validation } from "../../RecoveryRecord.js"
import type { Settings } from "./plan.js"

const failureKind = "failure_point"

/** What a recovery saves of its failure before it changes anything. */
const BeforeRecovery = Checkpoint.make("before_recovery", {
  kind: failureKind,
  schema: Schema.Struct({
    failure: Schema.String,
    ...Struct.pick(FailureRecord.fields, "run", "step", "category", "message", "detectedAt", "retries")
  })
})

export const saveBeforeRecovery = ({ id, labels, ...failure }: FailureRecord) =>
  BeforeRecovery.save({ failure: id, ...failure }, { labels })

/** How many checkpoints are validated in the search for a valid one. */
const maxCandidates = 10

/**
 * Checkpoints a failure can be recovered from: the requested one, else those from before the failure, newest first.
 * A failure of a run uses the checkpoints of that run, any other failure those of its repository and commit.
 */
export const candidatesOf = ({ detectedAt, labels, run }: FailureRecord, requested: string | undefined) =>
  Effect.gen(function* () {
    if (requested !== undefined) {
      const info = yield* Checkpoint.find(requested)
      return run !== undefined && info.run !== run ? [] : [info]
    }
    // Includes checkpoints of the same millisecond: they were saved before the failure was recorded.
    const before = new Date(detectedAt.getTime() + 1)
    if (run !== undefined) return yield* Checkpoint.list({ run, before, limit: maxCandidates })
    const project = Record.filter(labels, (_, name) => name === "repository" || name === "commit")
    if (Record.isEmptyReadonlyRecord(project)) return []
    const all = yield* Checkpoint.list({ before, labels: project })
    return all.filter(({ kind }) => kind !== failureKind).slice(0, maxCandidates)
  })

/** Validates by the checkpoint's own definition if the settings have it, else by its bytes and the common checks. */
export const validate = ({ checkpoints, checks }: Settings, info: Checkpoint.Info) => {
  const definition = checkpoints.find(({ name }) => name === info.name)
  return definition === undefined ? validateUndefined(info, checks) : definition.validate(info.id)
}

export const validateById = (settings: Settings, id: string) =>
  Effect.flatMap(Checkpoint.find(id), (info) => Effect.map(validate(settings, info), toValidation)).pipe(
    // No run is executing here, so no journal is read.
    Effect.catchIf((error): error is JournalError => error instanceof JournalError, Effect.die)
  )

const validateUndefined = (info: Checkpoint.Info, checks: Settings["checks"]) =>
  Effect.gen(function* () {
    const isIntact = yield* Checkpoint.isIntact(info.id)
    const found = yield* Effect.forEach(checks, ({ check, name, severity }) =>
      Effect.map(check(info), (findings) => findings.map((finding) => ({ check: name, severity, ...finding })))
    )
    const problems: ReadonlyArray<Checkpoint.Problem> = [
      ...(isIntact ? [] : [problem("integrity", "error", info.id, "its bytes are not those that were saved")]),
      ...(info.size <= emptyStateSize ? [problem("state", "warning", info.name, "it is empty")] : []),
      ...(Object.keys(info.environment).length === 0
        ? [problem("environment", "warning", info.name, "none was recorded")]
        : []),
      ...found.flat()
    ]
    const [warnings, errors] = Arr.partition(problems, ({ severity }) => severity === "error")
    const checkedAt = new Date(yield* Clock.currentTimeMillis)
    return { isValid: errors.length === 0, errors, warnings, checkedAt } satisfies Checkpoint.Validity
  })

/** Bytes of `{}`, `[]` or `""`. */
const emptyStateSize = 2

const problem = (
  check: string,
  severity: Checkpoint.Problem["severity"],
  subject: string,
  message: string
): Checkpoint.Problem => ({ check, severity, subject, message })

const toText = ({ check, message, subject }: Checkpoint.Problem): string => `${check} ${subject}: ${message}`

export const toValidation = ({ checkedAt, errors, isValid, warnings }: Checkpoint.Validity): Validation => ({
  isValid,
  errors: errors.map(toText),
  warnings: warnings.map(toText),
  checkedAt
})
