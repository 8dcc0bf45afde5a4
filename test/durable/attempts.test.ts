import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"
import { RunStatus } from "../../src/journal/RunStatus.js"

class Down extends Schema.TaggedError<Down>()("Down", { host: Schema.String }) {}
class Denied extends Schema.TaggedError<Denied>()("Denied", { key: Schema.Redacted(Schema.String) }) {}

const retried = Strategy.retry(RetryPolicy.fixed({ delay: "10 seconds", jitter: "none", maxRetries: 2 }))

/** Fails so many times, then succeeds. */
const unsteady = (name: string, failures: number) => {
  let attempts = 0
  return Step.make(name, {
    error: Down,
    success: Schema.String,
    recover: { Down: retried },
    run: Effect.suspend(() => (++attempts <= failures ? new Down({ host: `h${attempts}` }) : Effect.succeed("up")))
  })
}

const seconds = (date: Date) => date.getTime() / 1_000

const executed = <A, E>(self: Effect.Effect<A, E, Storage.Storage>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(Effect.exit(self))
    yield* TestClock.adjust(Duration.minutes(2))
    return yield* Fiber.join(fiber)
  })

describe("the attempts of a step in Workflow.status", () => {
  it.scoped("have their errors, times and decisions", () =>
    Effect.gen(function* () {
      const Fetch = Workflow.make("fetch", { success: Schema.String, error: Down }, () => unsteady("get", 2))
      yield* executed(Workflow.execute(Fetch, { id: "1" }))
      const { steps } = yield* Workflow.status("1")
      assert.deepStrictEqual(
        steps.map(({ attempts, history, key, status }) => [key, status, attempts, history.length]),
        [["get", "completed", 3, 3]]
      )
      const shown = steps[0]?.history.map(({ endedAt, failure, nextAt, number, startedAt, status }) => [
        number,
        status,
        seconds(startedAt),
        Option.getOrUndefined(Option.map(endedAt, seconds)),
        Option.getOrUndefined(Option.map(nextAt, seconds)),
        Option.getOrUndefined(Option.map(failure, ({ tag }) => tag))
      ])
      assert.deepStrictEqual(shown, [
        [1, "retried", 0, 0, 10, "Down"],
        [2, "retried", 10, 10, 20, "Down"],
        [3, "completed", 20, 20, undefined, undefined]
      ])
      const failure = Option.getOrThrow(steps[0]?.history[0]?.failure ?? Option.none())
      assert.include(failure.message, "h1")
      assert.isDefined(failure.category)
    }).pipe(Effect.provide(Storage.layerMemory))
  )

  it.scoped("end with the failure that the step gave up with", () =>
    Effect.gen(function* () {
      const Fetch = Workflow.make("fetch", { success: Schema.String, error: Down }, () => unsteady("get", 9))
      assert.isTrue(Exit.isFailure(yield* executed(Workflow.execute(Fetch, { id: "1" }))))
      const { failure, steps } = yield* Workflow.status("1")
      const last = steps[0]?.history.at(-1)
      assert.deepStrictEqual([last?.number, last?.status], [3, "failed"])
      assert.include(Option.getOrThrow(last?.failure ?? Option.none()).message, "h3")
      assert.isTrue(Option.isSome(failure))
    }).pipe(Effect.provide(Storage.layerMemory))
  )

  it.scoped("hold no secret of an error", () =>
    Effect.gen(function* () {
      const deny = Step.make("deny", {
        error: Denied,
        recover: { Denied: retried },
        run: Effect.suspend(() => new Denied({ key: Redacted.make("hunter2") }))
      })
      yield* executed(
        Workflow.execute(
          Workflow.make("w", { error: Denied }, () => deny),
          { id: "1" }
        )
      )
      const status = yield* Workflow.status("1")
      assert.strictEqual(status.steps[0]?.history.length, 3)
      assert.notInclude(JSON.stringify(status), "hunter2")
      yield* Schema.encode(RunStatus)(status)
    }).pipe(Effect.provide(Storage.layerMemory))
  )
})

describe("the children of a run in Workflow.status", () => {
  it.scoped("are the runs that signal it when they end", () =>
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      yield* Workflow.execute(
        Workflow.make("above", {}, () => Effect.void),
        { id: "1" }
      )
      const child = { version: "1", input: "", labels: {}, parent: { run: "1", signal: "child" } }
      yield* storage.enqueue({ ...child, id: "a", workflow: "below" })
      yield* storage.enqueue({ ...child, id: "b", workflow: "below" })
      yield* storage.terminate("b", { status: "cancelled", exit: "{}" })
      assert.deepStrictEqual((yield* Workflow.status("1")).children, [
        { id: "b", workflow: "below", status: "cancelled" },
        { id: "a", workflow: "below", status: "stopped" }
      ])
    }).pipe(Effect.provide(Storage.layerMemory))
  )
})
