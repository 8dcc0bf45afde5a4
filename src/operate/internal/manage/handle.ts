import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { warning } from "../../../resilience/internal/kernel/logged.js"
import * as RetryPolicy from "../../../resilience/RetryPolicy.js"
import * as Storage from "../../../storage/Storage.js"
import type { Report } from "../../FailureRecord.js"
import { PlainRetryFailed } from "../../OperateError.js"
import type { Handled } from "../../RecoveryOptions.js"
import { reportFailure, unrecordedFailure } from "../records/failures.js"
import { initiate } from "./initiate.js"
import type { Settings } from "./plan.js"

/** Records and recovers a failure. If the storage fails before an action starts, retries without a record. */
export const handle = (settings: Settings, failure: unknown, report: Report) =>
  Effect.suspend(() => {
    let isStarted = false
    const onAction = () => {
      isStarted = true
    }
    const recovered = Effect.flatMap(reportFailure(failure, report), ({ id }) =>
      initiate({ ...settings, onAction }, id, "auto", {})
    )
    return Effect.catchIf(
      Effect.map(recovered, (recovery): Handled => ({ _tag: "Recorded", recovery })),
      // A run is stored in the failing storage too. An action that has started must not run twice.
      (error): error is Storage.StorageError =>
        error instanceof Storage.StorageError &&
        !isStarted &&
        report.run === undefined &&
        settings.actions.retry !== undefined,
      (error) =>
        Effect.zipRight(
          warning("a failure could not be recorded; retrying without a record", Cause.fail(error)),
          retryPlainly(settings, failure, report, error)
        )
    )
  })

/** Retries by the `fallback` policy. The failure itself is the first attempt, so a delay precedes the first retry. */
const retryPlainly = (settings: Settings, failure: unknown, report: Report, storage: Storage.StorageError) =>
  Effect.gen(function* () {
    const unrecorded = yield* unrecordedFailure(failure, report)
    let attempts = 0
    const attempt = Effect.suspend(() => {
      if (attempts++ === 0) return Effect.fail(failure)
      return settings.actions.retry?.(unrecorded, undefined) ?? Effect.fail(failure)
    })
    return yield* attempt.pipe(
      RetryPolicy.retry(settings.fallback),
      Effect.mapBoth({
        onFailure: (error) => new PlainRetryFailed({ attempts: attempts - 1, error, storage }),
        onSuccess: (): Handled => ({ _tag: "RetriedPlainly", attempts: attempts - 1, storage })
      })
    )
  })
