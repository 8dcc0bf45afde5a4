import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import { JournalError } from "../../../journal/RunError.js"
import type * as Storage from "../../../storage/Storage.js"
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

/** Checkpoints that hold work. Those that recoveries save of their failures do not. */
const holdsWork = ({ kind }: Checkpoint.Info): boolean => kind !== failureKind

const pageSize = 100

/** The newest checkpoints with these labels that hold work. Reads pages, so that other checkpoints do not hide them. */
export const newestWith = (labels: Readonly<Record<string, string>>, limit: number) =>
  Effect.gen(function* () {
    const found: Array<Checkpoint.Info> = []
    yield* firstWhere({ run: "any", labels }, undefined, (info) => Effect.sync(() => found.push(info) >= limit))
    return found
  })

/**
 * The newest checkpoint from before a failure that is accepted. A failure of a run uses the checkpoints of that run,
 * any other failure those of its repository and commit.
 */
export const newestBefore = <E, R>(
  { detectedAt, labels, run }: Pick<FailureRecord, "detectedAt" | "labels" | "run">,
  accepts: (info: Checkpoint.Info) => Effect.Effect<boolean, E, R>
): Effect.Effect<Option.Option<Checkpoint.Info>, E | Storage.StorageError, R | Storage.Storage> => {
  const project = Record.filter(labels, (_, name) => name === "repository" || name === "commit")
  if (run === undefined && Record.isEmptyReadonlyRecord(project)) return Effect.succeedNone
  // Includes checkpoints of the same millisecond: they were saved before the failure was recorded.
  const before = new Date(detectedAt.getTime() + 1)
  return firstWhere(run === undefined ? { run: "any", labels: project } : { run }, before, accepts)
}

/** The newest checkpoint of a query that holds work and is accepted. */
const firstWhere = <E, R>(
  query: Checkpoint.Query,
  before: Date | undefined,
  accepts: (info: Checkpoint.Info) => Effect.Effect<boolean, E, R>
): Effect.Effect<Option.Option<Checkpoint.Info>, E | Storage.StorageError, R | Storage.Storage> =>
  Effect.gen(function* () {
    for (let last: string | undefined; ; ) {
      const page = yield* Checkpoint.list({ ...query, before: last ?? before, limit: pageSize })
      for (const info of page) {
        const isEarlier = before === undefined || info.at < before
        if (isEarlier && holdsWork(info) && (yield* accepts(info))) return Option.some(info)
      }
      last = page.at(-1)?.id
      if (page.length < pageSize) return Option.none()
    }
  })

/** Validates by the checkpoint's own definition if the settings have it, else by its bytes and the common checks. */
export const validate = (
  { checkpoints, checks }: Settings,
  info: Checkpoint.Info
): Effect.Effect<Checkpoint.Validity, Checkpoint.CheckpointNotFound | Storage.StorageError, unknown> => {
  const definition = checkpoints.find(({ name }) => name === info.name)
  if (definition === undefined) return Checkpoint.validate(info.id, checks)
  // No run is executing here, so no journal is read.
  return Effect.catchIf(definition.validate(info.id), (error) => error instanceof JournalError, Effect.die)
}

export const validateById = (settings: Settings, id: string) =>
  Effect.flatMap(Checkpoint.find(id), (info) => Effect.map(validate(settings, info), toValidation))

const toText = ({ check, message, subject }: Checkpoint.Problem): string => `${check} ${subject}: ${message}`

export const toValidation = ({ checkedAt, errors, isValid, warnings }: Checkpoint.Validity): Validation => ({
  isValid,
  errors: errors.map(toText),
  warnings: warnings.map(toText),
  checkedAt
})
