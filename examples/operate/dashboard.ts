import { createServer } from "node:http"
import { FetchHttpClient, HttpApiClient, HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer, Redacted, Schema } from "effect"
import { Step, Storage, Workflow } from "effect-recovery"
import { Dashboard, DashboardApi } from "effect-recovery/dashboard"
import { Insights, Production } from "effect-recovery/operate"

let isUp = false
const deploy = Step.make("deploy", {
  error: Schema.String,
  run: () => (isUp ? Effect.void : Effect.fail("connection refused"))
})
const Release = Workflow.make("release", { error: Schema.String }, () => deploy())

// A program that serves the page of its own runs. Without `port: 0` it is http://127.0.0.1:4780.
const server = NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })
const main = Production.layer({
  storage: Storage.layerMemory,
  workflows: [Release],
  // It executes its runs itself.
  worker: false,
  dashboard: Dashboard.layer({ where: "releases" }).pipe(Layer.provide(server))
})

// What the page does, a program can do by the same API.
const recoverOverHttp = Effect.gen(function* () {
  const { token, url } = yield* Dashboard.Dashboard
  const { actions, reads } = yield* HttpApiClient.make(DashboardApi.DashboardApi, {
    baseUrl: url,
    transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken(token))
  })
  const { failures } = yield* reads.overview({ urlParams: {} })
  const id = failures[0]?.id ?? ""
  const suggestions = yield* reads.suggestions({ path: { id } })
  // The reply comes before the work begins: its end is read by the id of the recovery.
  const begun = yield* actions.initiate({ path: { id }, payload: { type: "auto" } })
  const { status } = yield* Effect.repeat(Effect.delay(reads.recovery({ path: { id: begun.id } }), "100 millis"), {
    while: ({ status }) => status === "pending" || status === "in_progress"
  })
  return { suggested: suggestions[0]?.strategy, status, hasToken: Redacted.value(token).length > 20 }
}).pipe(Effect.provide(FetchHttpClient.layer))

export const program = Effect.gen(function* () {
  yield* Effect.ignore(Workflow.execute(Release, { id: "v1" }))
  yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
  isUp = true
  return yield* recoverOverHttp
}).pipe(Effect.provide(main))
