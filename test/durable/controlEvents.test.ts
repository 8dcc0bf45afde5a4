import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import * as Schema from "effect/Schema"
import { Events, Storage, Worker, Workflow } from "effect-recovery"
import { a, builtProcess, flow, Go } from "../support/durable.js"
import { backends } from "../support/storages.js"
import { eventually } from "../support/time.js"

const told = new Set(["RunHeld", "RunReleased", "RunCancelRequested", "RunContinued"])

/** How often this process counted each control. */
const counts = () =>
  Object.fromEntries(
    Metric.unsafeSnapshot().flatMap(({ metricKey: { name, tags }, metricState }) =>
      name === "effect_recovery_run_controls" && MetricState.isCounterState(metricState)
        ? tags.map(({ value }) => [value, Number(metricState.count)])
        : []
    )
  )

const twice = Workflow.make("twice", { input: Schema.Number, success: Schema.Number }, (n, continueAs) =>
  n < 2 ? continueAs(n + 1) : Effect.succeed(n)
)

for (const backend of backends)
  describe(`${backend.name}: an observer is notified`, () => {
    it.scoped(
      "that a run is held, released, to be cancelled and continued, each once, and the metric counts them",
      () =>
        Effect.gen(function* () {
          const { layer } = yield* builtProcess(backend)
          const seen: Array<string> = []
          const observed = Events.layer((event) =>
            Effect.sync(() => {
              if (told.has(event._tag)) seen.push(Events.inWords(event))
            })
          )
          const before = counts()
          yield* Effect.gen(function* () {
            const storage = yield* Storage.Storage
            const waits = flow(Effect.all([a, Go.wait()]))
            yield* Effect.flip(Workflow.execute(waits, { id: "1" }))
            yield* Workflow.hold("1", { reason: "to look", by: "ada" })
            // Another hold does not take its place.
            yield* storage.hold("1", { id: "recovery/r", reason: "a retry" })
            yield* Workflow.release("1")
            yield* Workflow.release("1")
            yield* Workflow.cancel("1", { reason: "withdrawn", by: "ada" })
            yield* Workflow.cancel("1", { reason: "again" })
            assert.strictEqual(yield* Workflow.execute(twice, { id: "2", input: 1 }), 2)
          }).pipe(Effect.provide(observed), Effect.provide(layer))
          assert.deepStrictEqual(seen, [
            "1: run put on hold (manual): to look (ada)",
            "1: hold manual released",
            "1: run is to be cancelled by ada: withdrawn",
            "2: run of twice continued as generation 2"
          ])
          const after = counts()
          const kinds = ["held", "released", "cancel_requested", "continued"]
          assert.deepStrictEqual(
            kinds.map((kind) => (after[kind] ?? 0) - (before[kind] ?? 0)),
            [1, 1, 1, 1]
          )
        })
    )

    it.scoped("that a worker continued a run in another generation", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const seen: Array<string> = []
        const observed = Events.layer((event) =>
          Effect.sync(() => {
            if (told.has(event._tag)) seen.push(event._tag)
          })
        )
        yield* Effect.gen(function* () {
          yield* Workflow.start(twice, { id: "2", input: 0 })
          yield* eventually(Workflow.status("2"), ({ status }) => status === "completed")
        }).pipe(Effect.provide(Worker.layer([twice])), Effect.provide(observed), Effect.provide(layer))
        assert.deepStrictEqual(seen, ["RunContinued", "RunContinued"])
      })
    )
  })
