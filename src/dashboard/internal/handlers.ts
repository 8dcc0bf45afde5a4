import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Operator from "../../operate/Operator.js"
import type { Refusal, Tag, Value } from "../../operate/OperatorRequests.js"
import { DashboardApi, type ServedRow, served } from "../DashboardApi.js"
import { Defect, Failed, NotFound, Refused, Unavailable } from "../DashboardError.js"
import { makeEventStream } from "./eventStream.js"
import { metricsOf } from "./metrics.js"

export interface About {
  readonly readonly: boolean
  readonly where: string | undefined
}

const errors = { NotFound, Refused, Failed, Defect, Storage: Unavailable }

type RequestError = NotFound | Refused | Failed | Defect | Unavailable

const errorOf = ({ kind, message, tag }: Refusal): RequestError => new errors[kind]({ tag, message })

const valueOf = <T extends Tag>(
  operator: Operator.Operator,
  request: Operator.Request<T>
): Effect.Effect<Value<T>, RequestError> =>
  Effect.flatMap(Operator.ask(operator, request), (reply) =>
    reply.ok ? Effect.succeed(reply.value) : Effect.fail(errorOf(reply))
  )

/** The reply is JSON already, and the operator may be of another version: it is sent without decoding it. */
const respond = (operator: Operator.Operator, request: Operator.Request) =>
  Effect.map(valueOf(operator, request), (value) => HttpServerResponse.unsafeJson(value))

interface Received {
  readonly path?: { readonly id?: string }
  readonly urlParams?: object
  readonly payload?: object
}

/** Who signs an action without a name. */
const unsigned = { by: "dashboard" }

const requestOf = ({ payload: fields, route, tag }: ServedRow, { path, payload, urlParams }: Received) =>
  ({
    _tag: tag,
    ...(route.id === undefined ? {} : { [route.id]: path?.id }),
    ...urlParams,
    ...("by" in fields ? unsigned : {}),
    ...payload
    // The endpoint's schemas, made of the row's fields, have decoded all of them.
  }) as Operator.Request

type Respond = (request: Operator.Request) => Effect.Effect<HttpServerResponse.HttpServerResponse, RequestError>

/** The same handlers with untyped endpoints, so that a loop can add one after the other. */
interface Untyped {
  readonly handle: (name: string, handler: (received: Received) => ReturnType<Respond>) => Untyped
}

/** Handles every endpoint of a group that comes from the table. */
const handleRows = <E, P, R>(
  handlers: HttpApiBuilder.Handlers<E | RequestError, P, R, HttpApiEndpoint.HttpApiEndpoint.Any>,
  writes: boolean,
  respond: Respond
) =>
  served
    .filter((row) => row.writes === writes)
    .reduce<Untyped>(
      (all, row) => all.handle(row.route.name, (received) => respond(requestOf(row, received))),
      handlers as unknown as Untyped
      // Both groups are made of these rows, so no endpoint is left unhandled.
    ) as unknown as HttpApiBuilder.Handlers<E | RequestError, P, R>

export const reads = (operator: Operator.Operator, about: About) =>
  HttpApiBuilder.group(DashboardApi, "reads", (handlers) =>
    Effect.map(makeEventStream(operator), (events) =>
      handleRows(
        handlers.handle("about", () => Effect.succeed(about)).handle("live", ({ urlParams }) => events(urlParams)),
        false,
        (request) => respond(operator, request)
      )
    )
  )

export const actions = (operator: Operator.Operator) =>
  HttpApiBuilder.group(DashboardApi, "actions", (handlers) =>
    Effect.map(Effect.scope, (scope) =>
      // Forked in the server's scope: the action continues if its client disconnects, and is interrupted when the server closes.
      handleRows(handlers, true, (request) =>
        Effect.flatMap(Effect.forkIn(respond(operator, request), scope), Fiber.join)
      )
    )
  )

export const metrics = (operator: Operator.Operator) =>
  HttpApiBuilder.group(DashboardApi, "metrics", (handlers) =>
    handlers.handle("metrics", () =>
      Effect.map(Effect.flatMap(valueOf(operator, { _tag: "Overview" }), metricsOf), (text) =>
        HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      )
    )
  )
