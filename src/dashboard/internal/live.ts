import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Operator from "../../operate/Operator.js"
import { Unavailable } from "../DashboardError.js"

/** Told apart by a name, so that a page knows what has changed. */
const event = (name: string) => (reply: Operator.Reply) =>
  reply.ok
    ? `event: ${name}\ndata: ${JSON.stringify(reply.value)}\n\n`
    : `event: trouble\ndata: ${JSON.stringify({ about: name, tag: reply.tag, message: reply.message })}\n\n`

/** Something must be said now and then, or nobody notices that the other side has gone. */
const beats = Stream.as(Stream.fromSchedule(Schedule.spaced("15 seconds")), ": still here\n\n")

/** Each of them is asked for once a second. */
const mostListeners = 32

interface What {
  readonly repository?: string | undefined
  readonly run?: string | undefined
}

/** Those who listen, until they leave or the server closes: it would wait for its last answer. */
export const makeLive = (operator: Operator.Operator, closing: Deferred.Deferred<void>) => {
  let listeners = 0
  const listening = Effect.acquireRelease(
    Effect.sync(() => listeners++),
    () => Effect.sync(() => listeners--)
  )
  return (what: What): Effect.Effect<HttpServerResponse.HttpServerResponse, Unavailable> =>
    Effect.suspend(() =>
      listeners < mostListeners
        ? Effect.succeed(answer(Stream.unwrapScoped(Effect.as(listening, eventsOf(operator, closing, what)))))
        : new Unavailable({
            tag: "TooMany",
            message: `${mostListeners} listen already. Close a page, or ask again later.`
          })
    )
}

const eventsOf = (operator: Operator.Operator, closing: Deferred.Deferred<void>, { repository, run }: What) => {
  const told = (name: string, request: Operator.Request) => Stream.map(Operator.changes(operator, request), event(name))
  const ofRun = (id: string) => [told("run", { _tag: "Run", id }), told("timeline", { _tag: "Timeline", id })]
  const all = [told("overview", { _tag: "Overview", repository }), ...(run === undefined ? [] : ofRun(run)), beats]
  return Stream.interruptWhenDeferred(Stream.mergeAll(all, { concurrency: "unbounded" }), closing)
}

const answer = (events: Stream.Stream<string>): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.stream(Stream.encodeText(events), {
    contentType: "text/event-stream",
    headers: { "x-accel-buffering": "no" }
  })
