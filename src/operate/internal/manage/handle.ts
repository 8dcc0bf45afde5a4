import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import * as RetryPolicy from "../../../resilience/RetryPolicy.js"
import * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import { PlainRetryFailed } from "../../OperateError.js"
import type { Action, Handled, Report } from "../../RecoveryManager.js"
import { findFailure } from "../records/find.js"
import { classifyWithLog } from "../records/log.js"
import { toFailure } from "../records/records.js"
import { detailsOf, recordFailure } from "../records/report.js"
import { initiate, type Manager } from "./initiate.js"

export const record = (failure: unknown, { labels = {}, ...more }: Report) =>
  Effect.gen(function* () {
    const fault = yield* classifyWithLog(failure, more.log)
    const written = yield* recordFailure({ fault, labels, ...more })
    return Option.isSome(written) ? toFailure(written.value) : yield* findFailure(more.id ?? "")
  })

/** Records and recovers; where neither can be written down, it is retried all the same. */
export const handle = (manager: Manager, failure: unknown, report: Report) =>
  Effect.suspend(() => {
    const { retry } = manager.actions
    let isStarted = false
    const started = Effect.sync(() => {
      isStarted = true
    })
    const watch =
      (action: Action): Action =>
      (...args) =>
        Effect.zipRight(started, action(...args))
    // The keys are those of the actions.
    const actions = Record.map(manager.actions as Record.ReadonlyRecord<string, Action>, watch) as Manager["actions"]
    const watched: Manager = { ...manager, actions }
    const recovered = Effect.flatMap(record(failure, report), ({ id }) => initiate(watched, id, "auto", {}))
    return Effect.catchIf(
      Effect.map(recovered, (recovery): Handled => ({ _tag: "Recorded", recovery })),
      // A run lies in the same storage; and what has happened must not happen again since it could not be written down.
      (error): error is Storage.StorageError =>
        error instanceof Storage.StorageError && !isStarted && report.run === undefined && retry !== undefined,
      (error) =>
        Effect.zipRight(
          Effect.logWarning("effect-recovery: a failure cannot be put on record; it is retried plainly", error.message),
          retryPlainly(manager, failure, report, error)
        )
    )
  })

/** The failure counts as the first attempt, so that its delay comes before the first retry. */
const retryPlainly = (manager: Manager, failure: unknown, report: Report, storage: Storage.StorageError) =>
  Effect.gen(function* () {
    const unrecorded = yield* describe(failure, report)
    let attempts = 0
    const attempt = Effect.suspend(() => {
      if (attempts++ === 0) return Effect.fail(failure)
      return manager.actions.retry?.(unrecorded, undefined) ?? Effect.fail(failure)
    })
    return yield* attempt.pipe(
      RetryPolicy.retry(manager.fallback),
      Effect.mapBoth({
        onFailure: (error) => new PlainRetryFailed({ attempts: attempts - 1, error, storage }),
        onSuccess: (): Handled => ({ _tag: "RetriedPlainly", attempts: attempts - 1, storage })
      })
    )
  })

const describe = (failure: unknown, { labels = {}, ...more }: Report): Effect.Effect<FailureRecord> =>
  Effect.gen(function* () {
    const fault = yield* classifyWithLog(failure, more.log)
    const now = new Date(yield* Clock.currentTimeMillis)
    const details = detailsOf({ fault, labels, ...more })
    return { ...details, id: more.id ?? "unrecorded", status: "open", labels, detectedAt: now, updatedAt: now }
  })
