import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { JournalError } from "../../../durable/RunError.js"
import * as Fault from "../../../resilience/Fault.js"
import { FailureNotFound } from "../../OperateError.js"
import { failures } from "../records/records.js"
import { recordFailure } from "../records/report.js"
import { initiate, type Manager, workflowOf } from "./initiate.js"
import { findCheckpoint, validate } from "./target.js"

export const validateById = ({ checkpoints, checks }: Manager, id: string) =>
  Effect.flatMap(findCheckpoint(id), (info) =>
    Effect.map(validate(checkpoints, checks, info), ({ validation }) => validation)
  ).pipe(
    Effect.catchIf(
      (error): error is JournalError => error instanceof JournalError,
      // Outside of a run nothing is read from a journal.
      (error) => Effect.die(error)
    )
  )

/**
 * Of the run's newest open failure; if it has none, the wish to go back is put
 * on record as one, so that what was done about it has something to belong to.
 */
export const rollbackTo = (manager: Manager, checkpoint: string, reason: string) =>
  Effect.gen(function* () {
    const { labels, run } = yield* findCheckpoint(checkpoint)
    const [open] = run === undefined ? [] : yield* failures.list({ subject: run, status: "open", limit: 1 })
    // Refused before anything is on record.
    yield* workflowOf(manager, { id: open?.id ?? "", run }, "rollback", true)
    const failure = open ?? (yield* wish(run, labels, reason))
    return yield* initiate(manager, failure.id, "rollback", { checkpoint, reason })
  })

const wish = (run: string | undefined, labels: Readonly<Record<string, string>>, reason: string) =>
  Effect.gen(function* () {
    const fault = yield* Fault.classify(new Error(`Rolled back by hand: ${reason}`))
    const written = yield* recordFailure({ run, fault, labels })
    return Option.isSome(written) ? written.value : yield* new FailureNotFound({ failure: "" })
  })
