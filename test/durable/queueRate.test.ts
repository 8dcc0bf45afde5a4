import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { Queue, Storage, Workflow } from "effect-recovery"
import { builtProcess } from "../support/durable.js"
import { inEveryStorage } from "../support/everyStorage.js"

const jobOf = (version: string) => Workflow.make("job", { version }, () => Effect.void)

const [Job, NewJob] = [jobOf("1"), jobOf("2")]

const hourly = Queue.make("hourly", { rate: { limit: 1, per: "1 hour" } })

const start = (...ids: ReadonlyArray<string>) =>
  Effect.forEach(ids, (id) => Workflow.start(Job, { id, queue: hourly }), { discard: true })

/** The runs that a worker takes now. */
const taken = (version: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const query = { workflows: [{ workflow: "job", version }], queues: [hourly.limits], limit: 10 }
    return (yield* storage.claimDue(query, (effect) => effect)).map(({ run }) => run.id)
  })

inEveryStorage("the rate of a queue", (backend) => {
  it.scoped("does not count runs that are cancelled before they begin", () =>
    Effect.gen(function* () {
      const { layer } = yield* builtProcess(backend)
      yield* Effect.gen(function* () {
        yield* start("a", "b", "c")
        assert.strictEqual(yield* Workflow.cancel("a", { reason: "not wanted" }), "cancelled")
        assert.deepStrictEqual(yield* taken("1"), ["b"])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("counts the runs that were moved to another version before they began", () =>
    Effect.gen(function* () {
      const { layer } = yield* builtProcess(backend)
      yield* Effect.gen(function* () {
        yield* start("a", "b", "c")
        assert.strictEqual((yield* Workflow.adopt(NewJob, { from: "1" })).adopted.length, 3)
        assert.deepStrictEqual(yield* taken("2"), ["a"])
        assert.deepStrictEqual(yield* taken("2"), [])
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* taken("2"), ["b"])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("is not used up by starts of a clock that was set back since", () =>
    Effect.gen(function* () {
      const { layer } = yield* builtProcess(backend)
      yield* Effect.gen(function* () {
        yield* TestClock.adjust("365 days")
        yield* start("a")
        assert.deepStrictEqual(yield* taken("1"), ["a"])
        yield* TestClock.setTime(0)
        yield* start("b", "c")
        assert.deepStrictEqual(yield* taken("1"), ["b"])
        assert.deepStrictEqual(yield* taken("1"), [])
      }).pipe(Effect.provide(layer))
    })
  )
})
