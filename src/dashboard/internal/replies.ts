import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Operator from "../../operate/Operator.js"
import { Defect, Failed, NotFound, Refused, Unavailable } from "../DashboardError.js"

type Refusal = Extract<Operator.Reply, { readonly ok: false }>

const errors = { NotFound, Refused, Failed, Defect, Storage: Unavailable }

export type RefusedReply = NotFound | Refused | Failed | Defect | Unavailable

const errorOf = ({ kind, message, tag }: Refusal): RefusedReply => new errors[kind]({ tag, message })

export const valueOf = (operator: Operator.Operator, request: Operator.Request) =>
  Effect.flatMap(Operator.ask(operator, request), (reply) =>
    reply.ok ? Effect.succeed(reply.value) : Effect.fail(errorOf(reply))
  )

/**
 * What an operator answers is JSON already, and may be of another version of
 * this library: it is handed on as it is.
 */
export const json = (operator: Operator.Operator, request: Operator.Request) =>
  Effect.map(valueOf(operator, request), (value) => HttpServerResponse.unsafeJson(value))
