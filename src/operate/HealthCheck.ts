/**
 * Checks the storage, runs, recoveries, failures and locks in one call, for a
 * cron job or an operator.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Storage from "../storage/Storage.js"
import { checksOf, storageCheck } from "./internal/health/checks.js"
import type { Report } from "./Reports.js"

export {
  /**
   * @since 0.1.0
   * @category models
   */
  Check,
  /**
   * @since 0.1.0
   * @category models
   */
  Report,
  /**
   * @since 0.1.0
   * @category models
   */
  Status
} from "./Reports.js"

/**
 * The limits beyond which a check is a warning.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long a run may wait for a worker. Defaults to 5 minutes. */
  readonly stuckAfter?: Duration.DurationInput | undefined
  /** How long a question or an escalation may be unanswered. Defaults to 1 day. */
  readonly unansweredAfter?: Duration.DurationInput | undefined
  /** How long a recovery may make no progress. Defaults to 1 hour. */
  readonly idleAfter?: Duration.DurationInput | undefined
  /** The share of the last seven days' recoveries that must have succeeded, 0 to 1. Defaults to 0.95. */
  readonly minimumSuccess?: number | undefined
}

/**
 * Runs all checks. It never fails: a check that cannot run is `failing`. To test
 * that the storage can be written, it increments a counter.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { HealthCheck } from "effect-recovery/operate"
 * import { Effect } from "effect"
 *
 * HealthCheck.run().pipe(
 *   Effect.map(({ status }) => status),
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then(console.log) // ok
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const run = (options: Options = {}): Effect.Effect<Report, never, Storage.Storage> =>
  Effect.gen(function* () {
    const { check, found } = yield* storageCheck
    const checks = [check, ...(Option.isNone(found) ? [] : yield* checksOf(options))]
    return {
      status: worstFirst.find((status) => checks.some((one) => one.status === status)) ?? "ok",
      checks,
      usage: Option.map(found, ({ usage }) => usage),
      runs: Option.match(found, { onNone: () => [], onSome: ({ runs }) => runs })
    }
  })

const worstFirst = ["failing", "warning"] as const
