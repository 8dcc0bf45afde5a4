import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Queue, Storage, Worker, Workflow } from "effect-recovery"
import { Insights, Operator, RecoveryManager } from "effect-recovery/operate"
import { eventually } from "../support/time.js"

const Encode = Queue.make("encode", { concurrency: 1 })
const Video = Workflow.make("video", {}, () => Effect.void)
const Report = Workflow.make("report", { input: Schema.Date }, () => Effect.void)
const nightly = Workflow.schedule("nightly", Report, {
  cron: "0 3 * * *",
  timeZone: "Europe/Berlin",
  input: (due) => due
})

const layer = Worker.layer([Report], { schedules: [nightly], drain: 0 }).pipe(
  Layer.provideMerge(Insights.layer),
  Layer.provideMerge(RecoveryManager.layer({})),
  Layer.provideMerge(Storage.layerMemory)
)

/** Asks as the command line and the page do. */
const asking = Effect.map(
  Operator.make,
  (operator) =>
    <T extends Parameters<typeof operator.ask>[0]["_tag"]>(request: Operator.Request<T>) =>
      Effect.flatMap(
        Effect.promise(() => operator.ask<T>(request)),
        (reply) => (reply.ok ? Effect.succeed(reply.value) : Effect.fail(reply))
      )
)

describe("an operator", () => {
  it.scopedLive("sees how many runs of a queue wait", () =>
    Effect.gen(function* () {
      const ask = yield* asking
      assert.deepStrictEqual(yield* ask({ _tag: "Queues" }), [])
      yield* Workflow.start(Video, { id: "1", queue: Encode, key: "acme" })
      yield* Workflow.start(Video, { id: "2", queue: Encode, delay: "1 hour" })
      const [queue] = yield* ask({ _tag: "Queues" })
      assert.deepInclude(queue, { queue: "encode", running: 0, due: 1, waiting: 1 })
      assert.isString(queue?.oldest)
      const [run] = yield* ask({ _tag: "Runs", queue: "encode", limit: 1 })
      assert.deepStrictEqual(run?.queue, { name: "encode", key: "", priority: 0 })
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("sees the limits of queues that a worker has, also of those without runs", () =>
    Effect.gen(function* () {
      const ask = yield* asking
      const worker = (queue: Queue.Queue) => Layer.build(Worker.layer([Video], { queues: [queue], drain: 0 }))
      const rate = { limit: 100, per: "1 minute" } as const
      yield* Workflow.start(Video, { id: "1", queue: Queue.make("thumbnails"), delay: "1 hour" })
      yield* worker(Queue.make("encode", { concurrency: 2, perKey: 1, rate }))
      const [encode, thumbnails] = yield* eventually(ask({ _tag: "Queues" }), (all) => all.length === 2)
      assert.deepInclude(encode, { queue: "encode", running: 0, due: 0, waiting: 0, oldest: null })
      const found = { concurrency: 2, perKey: 1, rate: { limit: 100, millis: 60_000, perKey: false } }
      assert.deepStrictEqual(encode?.limits, found)
      // No worker has this one.
      assert.isNull(thumbnails?.limits)
      // A deployment changes them.
      yield* worker(Queue.make("encode", { concurrency: 3 }))
      const [changed] = yield* eventually(ask({ _tag: "Queues" }), ([first]) => first?.limits?.concurrency === 3)
      assert.deepStrictEqual(changed?.limits, { concurrency: 3, perKey: null, rate: null })
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("lists, pauses, resumes and triggers a schedule", () =>
    Effect.gen(function* () {
      const ask = yield* asking
      const [schedule] = yield* eventually(ask({ _tag: "Schedules" }), (all) => all.length === 1)
      assert.deepInclude(schedule, { name: "nightly", workflow: "report", paused: null })
      assert.deepStrictEqual(schedule?.rule, { cron: "0 3 * * *", timeZone: "Europe/Berlin" })
      yield* ask({ _tag: "PauseSchedule", schedule: "nightly", reason: "holidays", by: "ada" })
      const [paused] = yield* ask({ _tag: "Schedules" })
      assert.deepInclude(paused?.paused, { reason: "holidays", by: "ada" })
      assert.isNull(paused?.nextDue)
      const { run } = yield* ask({ _tag: "TriggerSchedule", schedule: "nightly" })
      yield* Workflow.join(Report, run).pipe(Effect.retry({ while: ({ _tag }) => _tag === "RunNotFound" }))
      yield* ask({ _tag: "ResumeSchedule", schedule: "nightly" })
      const [resumed] = yield* ask({ _tag: "Schedules" })
      assert.isNull(resumed?.paused)
      assert.strictEqual(resumed?.last?.run, run)
      const missing = yield* Effect.flip(ask({ _tag: "PauseSchedule", schedule: "hourly" }))
      assert.deepInclude(missing, { kind: "NotFound", tag: "ScheduleNotFound" })
    }).pipe(Effect.provide(layer))
  )
})
