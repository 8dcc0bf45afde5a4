import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import { attemptTimeout } from "../../resilience/internal/kernel/attemptTimeout.js"
import { checkTimeout } from "../../resilience/internal/kernel/options.js"
import * as RetryPolicy from "../../resilience/RetryPolicy.js"

/** How a compensation is run. */
export interface UndoSettings {
  readonly retry: Schedule.Schedule<unknown, unknown> | undefined
  readonly timeout: Duration.Duration | undefined
}

const minute = Duration.minutes(1)

export const settingsOf = (options: {
  readonly retry?: Schedule.Schedule<unknown, never> | undefined
  readonly timeout?: Duration.DurationInput | undefined
}): UndoSettings => {
  const given = options.timeout === undefined ? minute : Duration.decode(options.timeout)
  return {
    // The schedule was written for what the compensation fails with, and sees nothing else.
    retry: options.retry as Schedule.Schedule<unknown, unknown> | undefined,
    timeout: Duration.isFinite(given) ? checkTimeout(given) : undefined
  }
}

/** Without a schedule of its own, by the policy in force. */
export const withSettings = (
  self: Effect.Effect<unknown, unknown>,
  { retry, timeout }: UndoSettings
): Effect.Effect<unknown, unknown> => {
  const timed = timeout === undefined ? self : attemptTimeout(self, timeout)
  return retry === undefined
    ? Effect.flatMap(RetryPolicy.Current, (policy) => RetryPolicy.retry(timed, policy))
    : RetryPolicy.retry(timed, retry)
}
