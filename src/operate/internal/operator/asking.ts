// Knows no part of the library that answers: the command line loads it before it knows whether it asks anything.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Operator, Reply, Request } from "../../Operator.js"

/** Those that change something. */
const writing: ReadonlySet<Request["_tag"]> = new Set([
  "Initiate",
  "Rollback",
  "CreateCheckpoint",
  "DeleteCheckpoint",
  "Report",
  "Resolve",
  "Answer",
  "Acknowledge",
  "ResolveEscalation",
  "Cleanup"
])

export const isReading = (request: Request): boolean => !writing.has(request._tag)

export const ask = (operator: Operator, request: Request): Effect.Effect<Reply> =>
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

/** What takes its time to answer is asked less often, so that nobody who looks slows down those who work. */
const rest = 10

const spaced = (every: Duration.Duration) =>
  Schedule.identity<readonly [Duration.Duration, Reply]>().pipe(
    Schedule.addDelay(([took]) => Duration.max(every, Duration.times(took, rest)))
  )

export const changes = (
  operator: Operator,
  request: Request,
  { every = "1 second" }: { readonly every?: Duration.DurationInput | undefined } = {}
): Stream.Stream<Reply> =>
  Stream.repeatEffectWithSchedule(Effect.timed(ask(operator, request)), spaced(Duration.decode(every))).pipe(
    Stream.map(([, reply]) => [reply, JSON.stringify(reply)] as const),
    Stream.changesWith(([, before], [, after]) => before === after),
    Stream.map(([reply]) => reply)
  )
