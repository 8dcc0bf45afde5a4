import { createServer } from "node:http"
import { connect } from "node:net"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Answer, Checkpoint, Recovery, RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"
import { Dashboard, DashboardApi } from "effect-recovery/dashboard"
import { Escalation, Insights, RecoveryManager } from "effect-recovery/operate"

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {
  override get message() {
    return "The card was declined"
  }
}

/** Switches of the world that the steps depend on. */
const world = { isUp: false, gate: undefined as Deferred.Deferred<void> | undefined }

const deploy = Step.make("deploy", {
  error: Schema.String,
  run: () =>
    Effect.gen(function* () {
      if (world.gate !== undefined) yield* Deferred.await(world.gate)
      if (!world.isUp) yield* Effect.fail("connect ECONNREFUSED 10.0.0.7:443")
    })
})
const Release = Workflow.make("release", { error: Schema.String }, () => deploy())

const pay = Step.make("pay", {
  error: Declined,
  run: () => new Declined(),
  recover: { Declined: Strategy.manual({ question: "Charge again?", to: "billing" }) }
})
const Order = Workflow.make("order", { error: Declined }, () => pay())

const token = Redacted.make("a-token-of-the-tests")
const server = NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })

const layer = (options: Dashboard.Options = {}) =>
  Dashboard.layer({ token, ...options }).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        Insights.layer,
        RecoveryManager.layer({ workflows: [Release, Order] }),
        Escalation.layer({ rules: [Escalation.rule({ threshold: 1 })], sinks: [] })
      )
    ),
    Layer.provideMerge(Storage.layerMemory),
    Layer.provide(server),
    Layer.merge(FetchHttpClient.layer)
  )

const clientWith = (given: Redacted.Redacted<string>) =>
  Effect.flatMap(Dashboard.Dashboard, ({ url }) =>
    HttpApiClient.make(DashboardApi.DashboardApi, {
      baseUrl: url,
      transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken(given))
    })
  )
const client = clientWith(token)

/** A request that no client of the API sends. */
const ask = (path: string, init: RequestInit = {}) =>
  Effect.flatMap(Dashboard.Dashboard, ({ url }) => Effect.promise(() => fetch(url + path, init)))

const authorized = { authorization: `Bearer ${Redacted.value(token)}` }
const body = (value: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: "POST",
  headers: { ...authorized, "content-type": "application/json", ...headers },
  body: JSON.stringify(value)
})

/** Makes a failed run, a suspended one, a recovery, a checkpoint and an escalation. */
const something = Effect.gen(function* () {
  world.isUp = false
  world.gate = undefined
  yield* Effect.ignore(Workflow.execute(Release, { id: "v/1", labels: { repository: "shop" } }))
  yield* Effect.ignore(Workflow.execute(Order, { id: "o1" }))
  let fails = 1
  yield* Effect.suspend(() => (fails-- > 0 ? new Declined() : Effect.void)).pipe(
    Recovery.recover({ Declined: Strategy.retry(RetryPolicy.fixed({ delay: 0, maxRetries: 1 })) }, { name: "ping" })
  )
  yield* Checkpoint.make("progress", { schema: Schema.Number }).save(1)
  yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
  yield* Effect.flatMap(Escalation.Escalation, ({ check }) => check)
})

const test = <E>(
  name: string,
  body: Effect.Effect<void, E, Layer.Layer.Success<ReturnType<typeof layer>> | Scope.Scope>,
  options?: Dashboard.Options
) => it.scopedLive(name, () => Effect.provide(body, layer(options)))

describe("Dashboard", () => {
  test(
    "every read matches the schemas of the API",
    Effect.gen(function* () {
      yield* something
      const { metrics, reads } = yield* client
      const overview = yield* reads.overview({ urlParams: {} })
      assert.strictEqual(overview.dashboard.recoverySummary.totalRecoveries, 1)
      assert.deepStrictEqual(
        overview.questions.map(({ about, run, to }) => ({ about, run, to })),
        [{ about: "Charge again?", run: "o1", to: Option.some("billing") }]
      )
      assert.deepStrictEqual(
        overview.runs.map(({ id, status }) => `${id} ${status}`),
        ["o1 suspended", "v/1 failed"]
      )
      const [failure] = yield* reads.failures({ urlParams: { run: "v/1" } })
      assert.strictEqual(failure?.category, "network")
      const path = { id: failure?.id ?? "" }
      assert.deepStrictEqual(yield* reads.failure({ path }), failure)
      assert.strictEqual((yield* reads.suggestions({ path }))[0]?.strategy, "retry")
      const run = yield* reads.run({ path: { id: "v/1" } })
      assert.deepStrictEqual(
        run.steps.map(({ key, status }) => `${key} ${status}`),
        ["deploy failed"]
      )
      const timeline = yield* reads.timeline({ path: { id: "v/1" }, urlParams: {} })
      assert.deepStrictEqual(
        timeline.moments.map(({ kind }) => kind),
        ["AttemptStarted", "StepFailed"]
      )
      const [recovery] = yield* reads.recoveries({ urlParams: {} })
      assert.deepStrictEqual(yield* reads.recovery({ path: { id: recovery?.id ?? "" } }), recovery)
      const statistics = yield* reads.statistics()
      assert.deepStrictEqual(statistics.byStrategy.retry?.successRate, Option.some(1))
      assert.isTrue(Option.exists(statistics.timeToRecover, ({ mean }) => Duration.isDuration(mean)))
      assert.strictEqual((yield* reads.escalations({ urlParams: {} }))[0]?.status, "open")
      assert.strictEqual((yield* reads.checkpoints({ urlParams: { limit: 5 } }))[0]?.name, "progress")
      assert.deepStrictEqual(
        (yield* reads.runs({ urlParams: { status: "failed" } })).map(({ id }) => id),
        ["v/1"]
      )
      assert.deepStrictEqual((yield* reads.health()).status, "ok")
      assert.deepStrictEqual(yield* reads.patterns({ urlParams: {} }), [])
      assert.strictEqual((yield* reads.tuning({ path: { id: "ping" } })).cases, 1)
      const text = yield* metrics.metrics()
      assert.include(text, `effect_recovery_recoveries_on_record{status="completed"} 1\n`)
      assert.include(text, `effect_recovery_strategy_outcomes{strategy="retry",outcome="recovered"} 1\n`)
      assert.include(text, "effect_recovery_failures_open 1\n")
      assert.include(text, "effect_recovery_questions_open 1\n")
      assert.match(text, /^# TYPE effect_recovery_decisions counter$/m)
      for (const line of text.trimEnd().split("\n")) {
        assert.match(line, /^(?:# (?:HELP|TYPE) \w+ .+|\w+(?:\{(?:\w+="(?:[^"\\]|\\.)*",?)+\})? -?[\d.e+-]+)$/)
      }
    })
  )

  test(
    "a failure is recovered, a question answered, an escalation resolved",
    Effect.gen(function* () {
      yield* something
      const { actions, reads } = yield* client
      const [failure] = yield* reads.failures({ urlParams: { run: "v/1" } })
      world.isUp = true
      const recovery = yield* actions.initiate({
        path: { id: failure?.id ?? "" },
        payload: { type: "retry", reason: "it is up again" }
      })
      assert.deepStrictEqual([recovery.status, recovery.reason], ["pending", "it is up again"])
      assert.strictEqual((yield* RecoveryManager.join(recovery.id)).status, "completed")
      const [question] = (yield* reads.overview({ urlParams: {} })).questions
      const payload = { answer: "abort", question: question?.id, by: "ada", note: "no more" } as const
      yield* actions.answer({ path: { id: "o1" }, payload })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Workflow.execute(Order, { id: "o1" }))))
      const again = yield* Effect.flip(actions.answer({ path: { id: "o1" }, payload }))
      assert.include(["Refused", "Failed"], again._tag)
      const [escalation] = yield* reads.escalations({ urlParams: {} })
      const path = { id: escalation?.id ?? "" }
      assert.strictEqual((yield* actions.acknowledge({ path, payload: {} })).acknowledgedBy, "dashboard")
      assert.strictEqual((yield* actions.resolveEscalation({ path, payload: { by: "ada" } })).status, "resolved")
    })
  )

  test(
    "unknown ids are NotFound",
    Effect.gen(function* () {
      yield* something
      const { actions, reads } = yield* client
      const path = { id: "nothing/../<b>" }
      assert.strictEqual((yield* Effect.flip(reads.failure({ path })))._tag, "NotFound")
      assert.strictEqual((yield* Effect.flip(reads.run({ path })))._tag, "NotFound")
      assert.strictEqual((yield* Effect.flip(reads.timeline({ path, urlParams: {} })))._tag, "NotFound")
      assert.strictEqual((yield* Effect.flip(reads.recovery({ path })))._tag, "NotFound")
      assert.strictEqual((yield* Effect.flip(actions.resolve({ path, payload: {} })))._tag, "NotFound")
      assert.strictEqual((yield* Effect.flip(actions.acknowledge({ path, payload: {} })))._tag, "NotFound")
      const rolledBack = yield* Effect.flip(actions.rollback({ path: { id: "17" }, payload: {} }))
      assert.strictEqual(rolledBack._tag, "NotFound")
    })
  )

  test(
    "reads and actions need the right token",
    Effect.gen(function* () {
      const { url } = yield* Dashboard.Dashboard
      for (const given of ["", "a-token-of-the-test", "a-token-of-the-tests-", "é"]) {
        const { actions, metrics, reads } = yield* clientWith(Redacted.make(encodeURIComponent(given)))
        assert.strictEqual((yield* Effect.flip(reads.overview({ urlParams: {} })))._tag, "Unauthorized")
        assert.strictEqual((yield* Effect.flip(metrics.metrics()))._tag, "Unauthorized")
        assert.strictEqual(
          (yield* Effect.flip(actions.resolve({ path: { id: "x" }, payload: {} })))._tag,
          "Unauthorized"
        )
      }
      assert.strictEqual((yield* ask("/api/live")).status, 401)
      // The token is in the address for the page only, and in no message.
      const link = Redacted.value((yield* Dashboard.Dashboard).link)
      assert.strictEqual(link, `${url}/#token=${Redacted.value(token)}`)
      assert.notInclude(yield* Effect.promise(async () => (await fetch(link)).text()), Redacted.value(token))
    })
  )

  test(
    "an empty token never grants access",
    Effect.gen(function* () {
      assert.strictEqual((yield* ask("/api/overview")).status, 401)
      assert.strictEqual((yield* ask("/api/overview", { headers: { authorization: "Bearer " } })).status, 401)
      assert.strictEqual((yield* ask("/api/failures/x/resolve", body({}, { authorization: "" }))).status, 401)
    }),
    { token: Redacted.make("") }
  )

  test(
    "the timeline does not contain answers",
    Effect.gen(function* () {
      yield* something
      yield* Workflow.resolve("o1", Answer.from({ by: "ada", note: "secret-note" })(Answer.abort))
      yield* Effect.exit(Workflow.execute(Order, { id: "o1" }))
      const { reads } = yield* client
      const timeline = yield* reads.timeline({ path: { id: "o1" }, urlParams: {} })
      assert.include(
        timeline.moments.map(({ kind }) => kind),
        "WaitEnded"
      )
      assert.notInclude(JSON.stringify(timeline), "secret-note")
    })
  )

  test(
    "sleeping runs hide no questions, and a damaged record hides no others",
    Effect.gen(function* () {
      yield* something
      const Sleepy = Workflow.make("sleepy", {}, () => Workflow.sleep("1 hour"))
      yield* Effect.forEach(
        Array.from({ length: 55 }, (_, i) => `s${i}`),
        (id) =>
          Effect.flatMap(Effect.fork(Workflow.execute(Sleepy, { id })), (fiber) =>
            Effect.zipRight(Effect.yieldNow(), Fiber.interrupt(fiber))
          )
      )
      const storage = yield* Storage.Storage
      const record = { kind: "failure", id: "damaged", subject: "", scope: "", status: "open", labels: {}, revision: 0 }
      yield* storage.write({ ...record, body: "{" }, [])
      const { reads } = yield* client
      const { failures, questions } = yield* reads.overview({ urlParams: {} })
      assert.deepStrictEqual(
        questions.map(({ run }) => run),
        ["o1"]
      )
      assert.strictEqual(failures.length, 1)
    })
  )

  test(
    "at most 32 clients listen at once",
    Effect.gen(function* () {
      const listen = () => {
        const leaving = new AbortController()
        return Effect.map(ask("/api/live", { headers: authorized, signal: leaving.signal }), ({ body, status }) => {
          // At once: fetch cancels the body of a response that is collected before it is read.
          const reader = body?.getReader()
          return {
            status,
            first: Effect.promise(async () => reader?.read()),
            leave: Effect.sync(() => leaving.abort())
          }
        })
      }
      const all = yield* Effect.forEach(Array.from({ length: 32 }), listen)
      yield* Effect.forEach(all, ({ first }) => first)
      assert.strictEqual((yield* listen()).status, 503)
      yield* Effect.forEach(all, ({ leave }) => leave)
      const again = Effect.map(
        Effect.tap(listen(), ({ leave }) => leave),
        ({ status }) => status
      )
      yield* Effect.repeat(
        Effect.zipLeft(
          again,
          Effect.promise(() => new Promise(setImmediate))
        ),
        {
          until: (status) => status === 200
        }
      )
    })
  )

  test(
    "open reads need no token, actions do",
    Effect.gen(function* () {
      yield* something
      assert.strictEqual((yield* ask("/api/overview")).status, 200)
      const refused = yield* ask("/api/failures/x/resolve", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: "{}"
      })
      assert.strictEqual(refused.status, 401)
    }),
    { reads: "open" }
  )

  test(
    "a read-only dashboard refuses actions",
    Effect.gen(function* () {
      yield* something
      const { actions, reads } = yield* client
      assert.isTrue((yield* reads.about()).readonly)
      const [failure] = yield* reads.failures({ urlParams: {} })
      const refused = yield* Effect.flip(actions.resolve({ path: { id: failure?.id ?? "" }, payload: {} }))
      assert.strictEqual(refused._tag, "Forbidden")
      assert.strictEqual((yield* reads.failure({ path: { id: failure?.id ?? "" } })).status, "open")
    }),
    { readonly: true }
  )

  test(
    "pages of other origins cannot act, even with the token",
    Effect.gen(function* () {
      const { url } = yield* Dashboard.Dashboard
      const from = (headers: Record<string, string>) =>
        Effect.map(ask("/api/failures/x/resolve", body({}, headers)), ({ status }) => status)
      assert.strictEqual(yield* from({ origin: "https://evil.example" }), 403)
      assert.strictEqual(yield* from({ origin: "null" }), 403)
      assert.strictEqual(yield* from({ origin: "http://127.0.0.1:1" }), 403)
      assert.strictEqual(yield* from({ "sec-fetch-site": "cross-site" }), 403)
      assert.strictEqual(
        (yield* ask("/api/live", { headers: { ...authorized, "sec-fetch-site": "cross-site" } })).status,
        403
      )
      assert.strictEqual(yield* from({ origin: url }), 404)
      assert.strictEqual(yield* from({}), 404)
      const preflight = yield* ask("/api/failures/x/resolve", {
        method: "OPTIONS",
        headers: { origin: "https://evil.example" }
      })
      assert.isNull(preflight.headers.get("access-control-allow-origin"))
    })
  )

  test(
    "foreign host names that resolve to the server are refused",
    Effect.gen(function* () {
      const { url } = yield* Dashboard.Dashboard
      const { host, port } = new URL(url)
      const named = (name: string) =>
        Effect.async<string>((resume) => {
          const socket = connect(Number(port), "127.0.0.1", () =>
            socket.end(`GET /api/overview HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`)
          )
          let text = ""
          socket.on("data", (data) => {
            text += data
          })
          socket.on("close", () => resume(Effect.succeed(text.slice(9, 12))))
        })
      assert.strictEqual(yield* named("rebound.example"), "403")
      assert.strictEqual(yield* named(""), "403")
      assert.strictEqual(yield* named("localhost"), "200")
      assert.strictEqual(yield* named(host), "200")
      assert.strictEqual(yield* named("[::1]:80"), "200")
      assert.strictEqual(yield* named("ops.example"), "200")
      assert.strictEqual(yield* named("OPS.example:80"), "200")
    }),
    { reads: "open", hosts: ["Ops.example"] }
  )

  test(
    "a body that is too large, of another type or not JSON is refused",
    Effect.gen(function* () {
      const post = (init: RequestInit) =>
        Effect.flatMap(ask("/api/failures/x/resolve", { method: "POST", ...init }), (response) =>
          Effect.promise(async () => [response.status, ((await response.json()) as { _tag: string })._tag])
        )
      const json = { ...authorized, "content-type": "application/json" }
      assert.deepStrictEqual(yield* post({ headers: json, body: new Uint8Array(100_000_000) }), [413, "BodyTooLarge"])
      assert.deepStrictEqual(yield* post({ headers: json, body: "{" }), [400, "MalformedBody"])
      assert.deepStrictEqual(yield* post({ headers: json }), [400, "MalformedBody"])
      assert.deepStrictEqual(yield* post({ headers: { ...authorized, "content-type": "text/plain" }, body: "{}" }), [
        415,
        "UnsupportedMediaType"
      ])
      const endless = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(65_536)) })
      const chunked = { headers: json, body: endless, duplex: "half" } as const
      assert.deepStrictEqual(yield* post(chunked), [411, "LengthRequired"])
      assert.deepStrictEqual(yield* post({ headers: json, body: `{"by":"${"x".repeat(20_000)}"}` }), [
        400,
        "HttpApiDecodeError"
      ])
      // The server continues to respond.
      assert.strictEqual((yield* ask("/api/overview", { headers: authorized })).status, 200)
    })
  )

  test(
    "every response has the security headers",
    Effect.gen(function* () {
      for (const path of ["/", "/page.css", "/api/overview", "/nothing", "/openapi.json"]) {
        const { headers } = yield* ask(path)
        assert.include(headers.get("content-security-policy") ?? "", "default-src 'none'", path)
        assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
        assert.strictEqual(headers.get("cache-control"), "no-store")
        assert.isNull(headers.get("access-control-allow-origin"))
      }
      assert.strictEqual((yield* ask("/nothing")).status, 404)
      const api = yield* Effect.flatMap(ask("/openapi.json"), (response) => Effect.promise(() => response.json()))
      assert.deepInclude(Object.keys((api as { readonly paths: object }).paths), "/api/runs/{id}/timeline")
    })
  )

  test(
    "the event stream sends changes only",
    Effect.gen(function* () {
      const aborting = new AbortController()
      yield* Effect.addFinalizer(() => Effect.sync(() => aborting.abort()))
      const response = yield* ask("/api/live?run=o1", { headers: authorized, signal: aborting.signal })
      assert.strictEqual(response.headers.get("content-type"), "text/event-stream")
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
      let text = ""
      const until = (found: RegExp) =>
        Effect.promise(async () => {
          while (!found.test(text)) text += (await reader?.read())?.value ?? ""
        })
      yield* until(/event: overview\n/)
      yield* until(/event: trouble\ndata: \{"about":"run","tag":"RunNotFound"/)
      yield* something
      yield* until(/event: overview\ndata: [^\n]*Charge again/)
      yield* until(/event: run\ndata: [^\n]*"suspended"/)
      yield* until(/event: timeline\ndata: [^\n]*WaitStarted/)
    })
  )

  it.scopedLive("a closing server ends its event streams and interrupts its actions", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(layer(), scope)
      const cancelled = yield* Effect.gen(function* () {
        yield* something
        const gate = yield* Deferred.make<void>()
        world.gate = gate
        const [failure] = yield* RecoveryManager.failures({ run: "v/1" })
        const asking = new AbortController()
        const init = { ...body({ type: "retry" }), signal: asking.signal }
        yield* Effect.fork(Effect.ignore(ask(`/api/failures/${failure?.id}/recoveries`, init)))
        const inProgress = Effect.map(RecoveryManager.recoveries({ status: "in_progress" }), (all) => all[0]?.id)
        const turn = Effect.promise(() => new Promise(setImmediate))
        const id = yield* Effect.repeat(Effect.zipLeft(inProgress, turn), { until: (found) => found !== undefined })
        // The client has left; the recovery continues.
        asking.abort()
        yield* turn
        assert.strictEqual((yield* RecoveryManager.status(id ?? "")).status, "in_progress")
        const { body: events } = yield* ask("/api/live", { headers: authorized })
        const storage = yield* Storage.Storage
        yield* Scope.close(scope, Exit.void)
        yield* Effect.promise(() => new Response(events).text())
        return yield* Effect.provideService(RecoveryManager.status(id ?? ""), Storage.Storage, storage)
      }).pipe(Effect.provide(context))
      assert.strictEqual(cancelled.status, "cancelled")
    })
  )
})
