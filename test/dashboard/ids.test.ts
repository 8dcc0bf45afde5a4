import { createServer } from "node:http"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import * as Redacted from "effect/Redacted"
import { Dashboard, DashboardApi } from "effect-recovery/dashboard"
import type { Operator } from "effect-recovery/operate"
import { decodeId, encodeId } from "../../src/dashboard/PathId.js"

const token = Redacted.make("a-token-of-the-tests")

/** An operator that knows no record and remembers what it was asked. */
const asked: Array<Operator.Request> = []
const operator: Operator.Operator = {
  ask: async (request) => {
    asked.push(request as Operator.Request)
    return { ok: false, kind: "NotFound", tag: "RunNotFound", message: "There is no such record." }
  },
  close: async () => undefined
}

const server = NodeHttpServer.layer(() => createServer({ maxHeaderSize: 65_536 }), { host: "127.0.0.1", port: 0 })
const layer = Dashboard.layerOperator(operator, { token }).pipe(
  Layer.provide(server),
  Layer.merge(FetchHttpClient.layer)
)

const client = Effect.flatMap(Dashboard.Dashboard, ({ url }) =>
  HttpApiClient.make(DashboardApi.DashboardApi, {
    baseUrl: url,
    transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken(token))
  })
)

/** Every route with an id, and the field of the request that the id is. */
const routes = Effect.map(client, ({ actions, reads }) => ({
  run: (id: string) => reads.run({ path: { id } }),
  timeline: (id: string) => reads.timeline({ path: { id }, urlParams: {} }),
  failure: (id: string) => reads.failure({ path: { id } }),
  suggestions: (id: string) => reads.suggestions({ path: { id } }),
  plan: (id: string) => reads.plan({ path: { id }, urlParams: { type: "auto" } }),
  rollbackPlan: (id: string) => reads.rollbackPlan({ path: { id } }),
  recovery: (id: string) => reads.recovery({ path: { id } }),
  tuning: (id: string) => reads.tuning({ path: { id } }),
  answer: (id: string) => actions.answer({ path: { id }, payload: { answer: "retry" } }),
  resolve: (id: string) => actions.resolve({ path: { id }, payload: {} }),
  initiate: (id: string) => actions.initiate({ path: { id }, payload: { type: "auto" } }),
  acknowledge: (id: string) => actions.acknowledge({ path: { id }, payload: {} }),
  resolveEscalation: (id: string) => actions.resolveEscalation({ path: { id }, payload: {} }),
  rollback: (id: string) => actions.rollback({ path: { id }, payload: {} })
}))

const fieldOf: Partial<Record<Operator.Request["_tag"], string>> = {
  Tune: "step",
  Answer: "run",
  Suggest: "failure",
  Plan: "failure",
  PlanRollback: "checkpoint",
  Resolve: "failure",
  Initiate: "failure",
  Acknowledge: "escalation",
  ResolveEscalation: "escalation",
  Rollback: "checkpoint"
}

const idOf = (request: Operator.Request | undefined): unknown =>
  request && Reflect.get(request, fieldOf[request._tag] ?? "id")

/** Each of these is changed or refused on some way between a client and a handler. */
const special = [
  ...[".", "..", "...", "./..", "../..", "/", "//", "a/b", "a//b", "/a/", "~", "~.", "~~", "%", "%2e", "%2E%2e", "%25"],
  ...[
    "?",
    "#",
    "a?b=c",
    "a#b",
    ";",
    "a;b",
    "+",
    " ",
    " a ",
    "a b",
    "&",
    "=",
    ":id",
    "*",
    "\\",
    "..\\..",
    "(",
    "'",
    '"'
  ],
  ...[
    "İ",
    "İstanbul",
    "ß",
    "ﬀ",
    "日本語",
    "👩‍👩‍👧",
    "e\u0301",
    "\u200b",
    "\ufeff",
    "\t",
    "\n",
    "\r\n",
    "\u0001",
    "\u007f"
  ],
  ...["timeline", "answers", "__proto__", "constructor", "A", "exec/T-1", "x".repeat(101)]
]

/** As long as an id may be. */
const longest = ["x".repeat(4_096), "語".repeat(4_096), "👩".repeat(2_048), "/".repeat(4_096)]

describe("ids in the paths of the dashboard", () => {
  it.scopedLive("reach every route as they are, whatever their characters and their length", () =>
    Effect.gen(function* () {
      const all = yield* routes
      for (const [route, request] of Object.entries(all)) {
        for (const id of route === "timeline" ? [...special, ...longest] : special) {
          asked.length = 0
          const what = `${route} ${JSON.stringify(id.slice(0, 20))} (${id.length})`
          const error = yield* Effect.flip<unknown, unknown, never>(request(id))
          assert.strictEqual(idOf(asked[0]), id, `${what}: ${error}`)
          assert.strictEqual(asked.length, 1, what)
        }
      }
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("reach a route as they are: random ones", () =>
    Effect.gen(function* () {
      const { timeline } = yield* routes
      const ids = FastCheck.sample(
        FastCheck.oneof(
          FastCheck.string({ unit: "binary", minLength: 1, maxLength: 40 }),
          FastCheck.string({ unit: FastCheck.constantFrom(...".~/%?#;&+=\\İa2e5F "), minLength: 1, maxLength: 8 })
        ).filter((id) => !id.includes("\0")),
        { numRuns: 100, seed: 7 }
      )
      for (const id of ids) {
        asked.length = 0
        yield* Effect.flip(timeline(id))
        assert.strictEqual(idOf(asked[0]), id, JSON.stringify(id))
      }
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("that no record can have are refused by the client", () =>
    Effect.gen(function* () {
      const { run } = yield* routes
      const error = yield* Effect.flip<unknown, unknown, never>(run("\ud800"))
      assert.isTrue(ParseResult.isParseError(error))
    }).pipe(Effect.provide(layer))
  )

  it("are encoded without loss, and no URL parser changes them", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary", maxLength: 20 }), (id) => {
        const segment = encodeId(id)
        const { pathname } = new URL(`/a/${segment}/b`, "http://localhost")
        assert.strictEqual(pathname, `/a/${segment}/b`)
        assert.strictEqual(decodeId(decodeURIComponent(segment)), id)
      }),
      { seed: 7, numRuns: 1_000, examples: special.map((id) => [id]) }
    )
  })
})
