/**
 * Whether something needs somebody, looked at in one go: what a cron job or a
 * person asks first.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Storage from "../storage/Storage.js"
import { checksOf, storageCheck } from "./internal/health/checks.js"
import type { Check, Report, Status } from "./Reports.js"

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
 * From when on something is worth a warning.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A run that could go on and that nobody takes. Defaults to 5 minutes. */
  readonly stuckAfter?: Duration.DurationInput | undefined
  /** A question or an escalation nobody has answered. Defaults to a day. */
  readonly unansweredAfter?: Duration.DurationInput | undefined
  /** A recovery that has made no progress. Defaults to an hour. */
  readonly idleAfter?: Duration.DurationInput | undefined
  /** How many of the last seven days' recoveries must have come to a good end, 0 to 1. Defaults to 0.95. */
  readonly minimumSuccess?: number | undefined
}

/**
 * Looks at everything. It never fails: what cannot be looked at is `failing`.
 * Nothing is changed but a counter, to see that the storage can be written.
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
export const run = (options: Options = {}): Effect.Effect<Report, never, Storage.Storage> => {
  const { idleAfter = "1 hour", minimumSuccess = 0.95, stuckAfter = "5 minutes", unansweredAfter = "1 day" } = options
  const limits = {
    stuckMillis: Duration.toMillis(stuckAfter),
    unansweredMillis: Duration.toMillis(unansweredAfter),
    idleMillis: Duration.toMillis(idleAfter),
    minimumSuccess
  }
  return Effect.gen(function* () {
    const { check, found } = yield* storageCheck
    const checks = [check, ...(Option.isNone(found) ? [] : yield* checksOf(limits))]
    return {
      status: worst(checks),
      checks,
      usage: Option.map(found, ({ usage }) => usage),
      runs: Option.match(found, { onNone: () => [], onSome: ({ runs }) => runs })
    }
  })
}

const worst = (checks: ReadonlyArray<Check>): Status => {
  const has = (status: Status) => checks.some((one) => one.status === status)
  return has("failing") ? "failing" : has("warning") ? "warning" : "ok"
}
