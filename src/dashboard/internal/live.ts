import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Deferred from "effect/Deferred"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Operator from "../../operate/Operator.js"

/** Told apart by a name, so that a page knows what has changed. */
const event = (name: string) => (reply: Operator.Reply) =>
  reply.ok
    ? `event: ${name}\ndata: ${JSON.stringify(reply.value)}\n\n`
    : `event: trouble\ndata: ${JSON.stringify({ about: name, tag: reply.tag, message: reply.message })}\n\n`

/** Something must be said now and then, or nobody notices that the other side has gone. */
const beats = Stream.as(Stream.fromSchedule(Schedule.spaced("15 seconds")), ": still here\n\n")

/** Goes on until somebody leaves, or the server does: it would wait for its last answer. */
export const live = (
  operator: Operator.Operator,
  { repository, run }: { readonly repository?: string | undefined; readonly run?: string | undefined },
  closing: Deferred.Deferred<void>
): HttpServerResponse.HttpServerResponse => {
  const told = (name: string, request: Operator.Request) => Stream.map(Operator.changes(operator, request), event(name))
  const ofRun = (id: string) => [told("run", { _tag: "Run", id }), told("timeline", { _tag: "Timeline", id })]
  const all = [told("overview", { _tag: "Overview", repository }), ...(run === undefined ? [] : ofRun(run)), beats]
  const events = Stream.interruptWhenDeferred(Stream.mergeAll(all, { concurrency: "unbounded" }), closing)
  return HttpServerResponse.stream(Stream.encodeText(events), {
    contentType: "text/event-stream",
    headers: { "x-accel-buffering": "no" }
  })
}
