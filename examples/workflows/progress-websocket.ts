import * as http from "node:http"
import { HttpRouter, HttpServer, HttpServerRequest, Socket } from "@effect/platform"
import { NodeHttpServer, NodeSocket } from "@effect/platform-node"
import { Deferred, Effect, Layer, Option, Schema, Stream } from "effect"
import { Events, RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"

class Reset extends Schema.TaggedError<Reset>()("Reset", {}) {}

let attempts = 0

const fetchPart = (part: number) =>
  Step.make(`part-${part}`, {
    error: Reset,
    run: Effect.suspend(() => (part === 2 && ++attempts < 3 ? Effect.fail(new Reset()) : Effect.void)),
    recover: { Reset: Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: "10 millis" })) }
  })

const Download = Workflow.make("download", { error: Reset }, () =>
  Effect.forEach([1, 2, 3], (part) => fetchPart(part), { discard: true })
)

/** What the page shows of an event; nothing of the others. */
const lineOf = (event: Events.Event): string | undefined => {
  switch (event._tag) {
    case "Decided":
      return `trying again: ${Option.getOrElse(event.fault.tag, () => event.fault.category)}`
    case "StepCompleted":
      return `done: ${event.source.step}`
    case "RunFinished":
      return event.outcome
    default:
      return undefined
  }
}

/** Sends each page that connects the events from then on. */
const progress = (connected: Deferred.Deferred<void>) =>
  Effect.gen(function* () {
    const socket = yield* HttpServerRequest.upgrade
    const write = yield* socket.writer
    const events = yield* Events.subscribe
    yield* Deferred.succeed(connected, undefined)
    yield* events.pipe(
      Stream.filterMap((event) => Option.fromNullable(lineOf(event))),
      Stream.runForEach(write),
      Effect.forkScoped
    )
    yield* socket.run(() => {})
    return yield* Effect.never
  }).pipe(Effect.scoped)

export const program = Effect.gen(function* () {
  const connected = yield* Deferred.make<void>()
  yield* HttpRouter.empty.pipe(HttpRouter.get("/progress", progress(connected)), HttpServer.serveEffect())
  const { address } = yield* HttpServer.HttpServer
  if (address._tag !== "TcpAddress") return []

  const lines: Array<string> = []
  const page = yield* Socket.makeWebSocket(`ws://127.0.0.1:${address.port}/progress`)
  const over = yield* Deferred.make<void>()
  yield* page
    .run((data) => {
      const line = new TextDecoder().decode(data)
      lines.push(line)
      return line === "completed" ? Deferred.succeed(over, undefined) : Effect.void
    })
    .pipe(Effect.forkScoped)
  yield* Deferred.await(connected)
  yield* Workflow.execute(Download, { id: "download-1" })
  yield* Deferred.await(over)
  return lines
}).pipe(
  Effect.scoped,
  Effect.provide(NodeHttpServer.layer(() => http.createServer(), { port: 0, host: "127.0.0.1" })),
  Effect.provide(NodeSocket.layerWebSocketConstructor),
  Effect.provide(Layer.mergeAll(Storage.layerMemory, Events.layerHub))
)
