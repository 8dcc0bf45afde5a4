/**
 * Asks an operator. This module loads no schema and no storage, so the command
 * line starts fast.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { millis } from "../resilience/internal/kernel/options.js"
import type { Operator } from "./Operator.js"
import type { Reply, Request, Tag } from "./OperatorRequests.js"

/**
 * Sends a request. If the caller is interrupted, the request is aborted, and
 * the interruption waits until the operator has replied.
 *
 * @since 0.1.0
 * @category asking
 */
export const ask = <T extends Tag>(operator: Operator, request: Request<T>): Effect.Effect<Reply<T>> =>
  Effect.async((resume) => {
    const controller = new AbortController()
    const reply = operator.ask(request, { signal: controller.signal })
    reply.then(
      (value) => resume(Effect.succeed(value)),
      (error) => resume(Effect.die(error))
    )
    return Effect.promise(() => {
      controller.abort()
      return reply.catch(() => undefined)
    })
  })

/** The least pause after a reply, as a multiple of the time it took: polling uses at most a tenth of the storage's time. */
const pauseFactor = 10

const pausesOf = <T extends Tag>(every: Duration.Duration) =>
  Schedule.identity<readonly [Duration.Duration, Reply<T>]>().pipe(
    Schedule.addDelay(([took]) => Duration.max(every, Duration.times(took, pauseFactor)))
  )

/**
 * Repeats a request and emits each reply that differs from the one before.
 *
 * @since 0.1.0
 * @category asking
 */
export const changes = <T extends Tag>(
  operator: Operator,
  request: Request<T>,
  options: {
    /** The pause after a reply. Defaults to 1 second; at least ten times as long as the reply took, also with 0. */
    readonly every?: Duration.DurationInput | undefined
  } = {}
): Stream.Stream<Reply<T>> => {
  const { every = "1 second" } = options
  return Stream.repeatEffectWithSchedule(
    Effect.timed(ask(operator, request)),
    pausesOf<T>(Duration.millis(millis("every", every)))
  ).pipe(
    Stream.map(([, reply]) => [reply, JSON.stringify(reply)] as const),
    Stream.changesWith(([, before], [, after]) => before === after),
    Stream.map(([reply]) => reply)
  )
}
