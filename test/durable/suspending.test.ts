import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Answer, Recovery, Step, Strategy, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { assertTagged, causeOf } from "../support/assertions.js"
import { a, Bad, type Body, b, c, d, flow, Go, memoryProcess, noted, Other } from "../support/durable.js"
import { passTime, turns } from "../support/time.js"

describe("a run suspends", () => {
  it.scoped("after its concurrent branches have stopped writing", () =>
    Effect.gen(function* () {
      // A slow storage.
      const { layer, lines } = yield* memoryProcess((store) => ({
        ...store,
        append: (...args) => Effect.zipRight(turns(15), store.append(...args))
      }))
      const both = flow(
        Effect.all([Go.wait(), Effect.all([a, b, c]), Effect.zipRight(Other.wait(), d)], { concurrency: 3 })
      )
      yield* Effect.gen(function* () {
        yield* Workflow.start(both, { id: "1" })
        yield* Other.send("1", 1)
        const suspended = yield* Effect.flip(Workflow.execute(both, { id: "1" }))
        assertTagged(suspended, "RunSuspended")
        assert.strictEqual(suspended.waits.length, 1)
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual([...(yield* lines)].sort(), ["a", "b", "c", "d"])
    })
  )

  it.scoped("after a race that two branches finish together, and replays the same winner", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* memoryProcess((store) => ({
        ...store,
        append: (...args) => Effect.zipRight(turns(10), store.append(...args))
      }))
      const raced = flow(
        Effect.gen(function* () {
          const which = yield* Effect.race(Effect.as(Workflow.sleep("1 hour"), "late"), Effect.as(Go.wait(), "told"))
          yield* noted(which)
          yield* Other.wait()
        })
      )
      yield* Effect.gen(function* () {
        const run = Workflow.execute(raced, { id: "1" })
        yield* Workflow.start(raced, { id: "1" })
        const first = yield* Effect.fork(Effect.flip(run))
        yield* turns(60)
        yield* Go.send("1", 1)
        yield* TestClock.adjust("61 minutes")
        yield* first
        const told = yield* lines
        assert.strictEqual(told.length, 1)
        const again = yield* Effect.flip(run)
        assert.strictEqual(again._tag, "RunSuspended")
        assert.deepStrictEqual(yield* lines, told)
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("without a deadline if a wait has none, and resumes after a signal", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      const forever = flow(Go.wait())
      yield* Effect.gen(function* () {
        const suspended = yield* Effect.flip(Workflow.execute(forever, { id: "1" }))
        assertTagged(suspended, "RunSuspended", { until: Option.none() })
        yield* Go.send("1", 1)
        yield* Workflow.execute(forever, { id: "1" })
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("in a sleep longer than a timer can hold", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* memoryProcess()
      const long = flow(Effect.zipRight(Workflow.sleep("60 days"), a))
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(Workflow.execute(long, { id: "1" }))
        yield* turns(5)
        yield* TestClock.adjust("59 days")
        assert.deepStrictEqual(yield* lines, [])
        yield* TestClock.adjust("1 day")
        yield* fiber
        assert.deepStrictEqual(yield* lines, ["a"])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("never inside a step or a compensation: asking there fails", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      const ask = new Bad().pipe(Recovery.recover({ Bad: Strategy.manual({ answer: Schema.String }) }))
      // The types refuse it, but a cast bypasses them.
      const inside = Step.make("inside", { success: Schema.String, error: Bad, run: ask }) as unknown as Body
      yield* Effect.gen(function* () {
        const exit = yield* Effect.exit(Workflow.execute(flow(inside), { id: "1" }))
        assert.include(causeOf(exit), "AskedInsideStep")
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("waits and rewinds", () => {
  it.scoped("a fork copies the waits of its source run", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* memoryProcess()
      const waiting = flow(Effect.all([a, Workflow.sleep("1 millis"), Go.wait(), b, c]))
      yield* Effect.gen(function* () {
        yield* Workflow.start(waiting, { id: "1" })
        yield* Go.send("1", 1)
        const first = yield* Effect.fork(Workflow.execute(waiting, { id: "1" }))
        yield* passTime(first, "1 second")
        yield* Workflow.fork("1", { as: "2", to: Workflow.beforeStep("c") })
        yield* Workflow.execute(waiting, { id: "2" })
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* lines, ["a", "b", "c", "c"])
    })
  )

  it.scoped("a rewind does not reuse an old answer for a new failure", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* memoryProcess()
      const charge = Step.make("charge", {
        success: Schema.Number,
        error: Bad,
        run: Effect.zipRight(Ledger.done("charge"), new Bad()),
        recover: { Bad: Strategy.manual() }
      })
      const side = Workflow.make("flow", { error: Bad }, () =>
        Effect.asVoid(Effect.all([charge, Effect.zipRight(Go.wait(), a)], { concurrency: 2 }))
      )
      yield* Effect.gen(function* () {
        const run = Effect.flip(Workflow.execute(side, { id: "1" }))
        yield* run
        yield* Workflow.resolve("1", Answer.retry)
        yield* run
        yield* Go.send("1", 1)
        yield* run
        yield* Workflow.resolve("1", Answer.retry)
        yield* run
        const before = (yield* lines).filter((line) => line === "charge").length
        yield* Workflow.rewind(side, "1", Workflow.beforeStep("a"))
        const asked = yield* run
        assertTagged(asked, "RunSuspended")
        assert.strictEqual(asked.waits[0]?.id, "charge?1~2")
        assert.strictEqual((yield* lines).filter((line) => line === "charge").length, before + 1)
      }).pipe(Effect.provide(layer))
    })
  )
})
