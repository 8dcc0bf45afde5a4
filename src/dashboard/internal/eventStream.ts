import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Operator from "../../operate/Operator.js"
import { Unavailable } from "../DashboardError.js"

const eventOf = (name: string) => (reply: Operator.Reply) =>
  reply.ok
    ? `event: ${name}\ndata: ${JSON.stringify(reply.value)}\n\n`
    : `event: trouble\ndata: ${JSON.stringify({ about: name, tag: reply.tag, message: reply.message })}\n\n`

/** Comments that keep the connection alive and detect a client that has gone. */
const heartbeats = Stream.as(Stream.fromSchedule(Schedule.spaced("15 seconds")), ": heartbeat\n\n")

/** Each client polls the storage about once a second. */
const maxClients = 32

interface Subjects {
  readonly repository?: string | undefined
  readonly run?: string | undefined
}

const eventsOf = (operator: Operator.Operator, { repository, run }: Subjects) => {
  const changes = (name: string, request: Operator.Request) =>
    Stream.map(Operator.changes(operator, request), eventOf(name))
  const ofRun = (id: string) => [changes("run", { _tag: "Run", id }), changes("timeline", { _tag: "Timeline", id })]
  const all = [
    changes("overview", { _tag: "Overview", repository }),
    ...(run === undefined ? [] : ofRun(run)),
    heartbeats
  ]
  return Stream.mergeAll(all, { concurrency: "unbounded" })
}

/** Streams server-sent events to each client, until it disconnects or the scope closes. */
export const makeEventStream = (
  operator: Operator.Operator
): Effect.Effect<
  (subjects: Subjects) => Effect.Effect<HttpServerResponse.HttpServerResponse, Unavailable>,
  never,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const closing = yield* Deferred.make<void>()
    // A closing server waits for open responses, so the streams end first.
    yield* Effect.addFinalizer(() => Deferred.succeed(closing, undefined))
    let clients = 0
    const counted = Effect.acquireRelease(
      Effect.sync(() => clients++),
      () => Effect.sync(() => clients--)
    )
    return (subjects) =>
      Effect.suspend(() => {
        if (clients >= maxClients) {
          const message = `${maxClients} clients listen already. Close a page, or try again later.`
          return new Unavailable({ tag: "TooMany", message })
        }
        const events = Stream.interruptWhenDeferred(eventsOf(operator, subjects), closing)
        return Effect.succeed(
          HttpServerResponse.stream(Stream.encodeText(Stream.unwrapScoped(Effect.as(counted, events))), {
            contentType: "text/event-stream",
            headers: { "x-accel-buffering": "no" }
          })
        )
      })
  })
