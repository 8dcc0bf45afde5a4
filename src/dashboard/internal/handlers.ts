import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Operator from "../../operate/Operator.js"
import { DashboardApi } from "../DashboardApi.js"
import { makeLive } from "./live.js"
import { metricsOf } from "./metrics.js"
import { json, valueOf } from "./replies.js"

export interface About {
  readonly readonly: boolean
  readonly where: string | undefined
}

/** What is live ends when the server closes. */
const liveOf = (operator: Operator.Operator) =>
  Effect.gen(function* () {
    const closing = yield* Deferred.make<void>()
    yield* Effect.addFinalizer(() => Deferred.succeed(closing, undefined))
    return makeLive(operator, closing)
  })

export const reads = (operator: Operator.Operator, about: About) =>
  HttpApiBuilder.group(DashboardApi, "reads", (handlers) =>
    Effect.map(liveOf(operator), (live) =>
      handlers
        .handle("about", () => Effect.succeed(about))
        .handle("overview", ({ urlParams }) => json(operator, { _tag: "Overview", ...urlParams }))
        .handle("live", ({ urlParams }) => live(urlParams))
        .handle("statistics", () => json(operator, { _tag: "Statistics" }))
        .handle("runs", ({ urlParams }) => json(operator, { _tag: "Runs", ...urlParams }))
        .handle("run", ({ path }) => json(operator, { _tag: "Run", ...path }))
        .handle("timeline", ({ path, urlParams }) => json(operator, { _tag: "Timeline", ...path, ...urlParams }))
        .handle("failures", ({ urlParams }) => json(operator, { _tag: "Failures", ...urlParams }))
        .handle("failure", ({ path }) => json(operator, { _tag: "Failure", ...path }))
        .handle("suggestions", ({ path }) => json(operator, { _tag: "Suggest", failure: path.id }))
        .handle("recoveries", ({ urlParams }) => json(operator, { _tag: "Recoveries", ...urlParams }))
        .handle("recovery", ({ path }) => json(operator, { _tag: "Recovery", ...path }))
        .handle("escalations", ({ urlParams }) => json(operator, { _tag: "Escalations", ...urlParams }))
        .handle("patterns", ({ urlParams }) => json(operator, { _tag: "Patterns", ...urlParams }))
        .handle("tuning", ({ path }) => json(operator, { _tag: "Tune", step: path.id }))
        .handle("health", () => json(operator, { _tag: "Health" }))
        .handle("checkpoints", ({ urlParams }) => json(operator, { _tag: "Checkpoints", ...urlParams }))
    )
  )

/** Who it was, where nobody says so. */
const somebody = "dashboard"

export const actions = (operator: Operator.Operator) =>
  HttpApiBuilder.group(DashboardApi, "actions", (handlers) =>
    Effect.map(Effect.scope, (scope) => {
      /** Goes on when the one who asked has closed the page; the end of the server ends it. */
      const lasting = (request: Operator.Request) =>
        Effect.flatMap(Effect.forkIn(json(operator, request), scope), Fiber.join)
      return handlers
        .handle("initiate", ({ path, payload }) => lasting({ _tag: "Initiate", failure: path.id, ...payload }))
        .handle("rollback", ({ path, payload }) => lasting({ _tag: "Rollback", checkpoint: path.id, ...payload }))
        .handle("resolve", ({ path, payload: { by = somebody } }) =>
          json(operator, { _tag: "Resolve", failure: path.id, by })
        )
        .handle("answer", ({ path, payload: { by = somebody, ...more } }) =>
          json(operator, { _tag: "Answer", run: path.id, by, ...more })
        )
        .handle("acknowledge", ({ path, payload: { by = somebody } }) =>
          json(operator, { _tag: "Acknowledge", escalation: path.id, by })
        )
        .handle("resolveEscalation", ({ path, payload: { by = somebody, note } }) =>
          json(operator, { _tag: "ResolveEscalation", escalation: path.id, by, note })
        )
    })
  )

export const metrics = (operator: Operator.Operator) =>
  HttpApiBuilder.group(DashboardApi, "metrics", (handlers) =>
    handlers.handle("metrics", () =>
      Effect.map(Effect.flatMap(valueOf(operator, { _tag: "Overview" }), metricsOf), (text) =>
        HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      )
    )
  )
