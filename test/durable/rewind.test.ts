import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Recovery, State, Step, Strategy, Transaction, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { Ledger, Scorecard, Testing } from "effect-recovery/testing"
import { Bad, failsOnce, memoryProcess, Numbers, processOn, undoable } from "../support/durable.js"
import { backends } from "../support/storages.js"

/** Fails a given number of times over all processes. */
const failing = (name: string, times: number) =>
  Step.make(name, {
    error: Bad,
    run: Effect.gen(function* () {
      const before = (yield* Ledger.lines).filter(({ effect }) => effect === name).length
      yield* Ledger.done(name)
      if (before < times) yield* new Bad()
    })
  })

for (const backend of backends) {
  const store = Effect.map(backend.make, (place) => place.store)

  const setup = processOn(backend, "30 seconds")

  describe(`${backend.name}: rewinding`, () => {
    it.scoped("restart compensates everything in reverse and runs again, at most three times", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const make = (times: number) =>
          Workflow.make(`restart${times}`, { error: Bad, success: Schema.String }, () =>
            Transaction.run(Effect.zipRight(undoable("a"), undoable("b"))).pipe(
              Effect.zipRight(failing(`c${times}`, times)),
              Recovery.recover({ Bad: Strategy.restart() }),
              Effect.as("fine")
            )
          )
        const run = (times: number) =>
          Effect.exit(Effect.provide(Workflow.execute(make(times), { id: `${times}` }), layer))
        assert.deepStrictEqual(yield* run(1), Exit.succeed("fine"))
        assert.deepStrictEqual(yield* lines, ["a", "b", "c1", "undo b", "undo a", "a", "b", "c1"])
        const exit = yield* run(9)
        assert.isTrue(Exit.isFailure(exit))
        assert.strictEqual((yield* lines).filter((line) => line === "c9").length, 4)
        const status = yield* Effect.provide(Workflow.status("9"), layer)
        assert.strictEqual(status.rewinds.length, 3)
        assert.strictEqual(status.rewinds[0]?.by, "restart to the start of the run")
      })
    )

    it.scoped("restartFrom reaches a point before a rolled-back transaction, not inside", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const make = (name: string, from: string) =>
          Workflow.make(name, { error: Bad, success: Schema.String }, () =>
            Effect.zipRight(undoable("a"), failing(name, 1)).pipe(
              Transaction.run(),
              Effect.zipRight(Effect.void),
              (body) => Effect.zipRight(Step.make("first", { run: Ledger.done("first") }), body),
              Recovery.recover({ Bad: Strategy.restartFrom(from) }),
              Effect.as("fine"),
              Effect.catchTag("RewindRefused", ({ detail, reason }) => Effect.succeed(`${reason} ${detail}`))
            )
          )
        const into = make("into", "transaction/into")
        assert.strictEqual(
          yield* Effect.provide(Workflow.execute(into, { id: "1" }), layer),
          "Compensated transaction/"
        )
        assert.strictEqual(yield* Effect.provide(Workflow.execute(make("to", "first"), { id: "2" }), layer), "fine")
        assert.deepStrictEqual((yield* lines).slice(4), ["first", "a", "to", "undo a", "first", "a", "to"])
      })
    )

    it.scoped("a step's own strategy rewinds before its transaction fails", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const check = Step.make("check", {
          error: Bad,
          run: Effect.flatMap(Ledger.lines, (lines) =>
            lines.filter(({ effect }) => effect === "c").length < 2 ? Effect.fail(new Bad()) : Effect.void
          ),
          recover: { Bad: Strategy.restartFrom(undoable("b")) }
        })
        const workflow = Workflow.make("from", { error: Bad }, () =>
          Transaction.run(
            undoable("a").pipe(Effect.zipRight(undoable("b")), Effect.zipRight(undoable("c")), Effect.zipRight(check))
          )
        )
        yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), layer)
        assert.deepStrictEqual(yield* lines, ["a", "b", "c", "undo c", "undo b", "b", "c"])
      })
    )

    it.scoped("restartIteration repeats its iteration and no concurrent one", () =>
      Effect.gen(function* () {
        const { layer, ledger } = yield* setup
        const item = (i: number) =>
          Effect.gen(function* () {
            yield* undoable(`start${i}`)
            yield* Recovery.recover(failing(`work${i}`, i === 1 ? 2 : 0), { Bad: Strategy.restartIteration() })
          }).pipe(Transaction.run(), Workflow.section("item", i))
        const workflow = Workflow.make("items", { error: Bad }, () =>
          Effect.forEach([0, 1, 2], item, { concurrency: 3, discard: true })
        )
        yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), layer)
        const count = (effect: string, kind: string) =>
          Effect.map(ledger.lines, (all) => all.filter((line) => line.effect === effect && line.kind === kind).length)
        assert.deepStrictEqual(
          yield* Effect.all(["start0", "start1", "start2", "work1"].map((name) => count(name, "done"))),
          [1, 3, 1, 3]
        )
        assert.deepStrictEqual(
          yield* Effect.all(["start0", "start1", "start2"].map((name) => count(name, "undone"))),
          [0, 2, 0]
        )
      })
    )

    it.scoped("rollback restores State and runs the transaction again", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const Count = State.make("count", Schema.Number, 0)
        const body = Effect.gen(function* () {
          yield* Count.update((n) => n + 1)
          const inside = Effect.gen(function* () {
            yield* Count.update((n) => n + 10)
            yield* undoable("a")
            yield* Recovery.recover(failing("b", 2), { Bad: Strategy.rollback() })
          })
          yield* Transaction.run(inside)
          return yield* Count.get
        })
        const workflow = Workflow.make("rollback", { error: Bad, success: Schema.Number }, () => body)
        assert.strictEqual(yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), layer), 11)
        assert.deepStrictEqual(yield* lines, ["a", "b", "undo a", "a", "b", "undo a", "a", "b"])
      })
    )

    it.scoped("an unknown point, a pivot or a rolled-back point is refused, and the next strategy decides", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const pivot = Step.make("pivot", { run: Effect.void, pivot: true })
        const rolledBack = undoable("inside").pipe(
          Effect.zipRight(undoable("later")),
          Effect.zipRight(Effect.fail(new Bad())),
          Transaction.run({ name: "gone" }),
          Effect.ignore
        )
        let id = 0
        const check = (
          strategy: Strategy.Strategy<Bad, never, Strategy.RewindRefused | Strategy.Exhausted, Strategy.Rewinder>
        ) =>
          Workflow.make("refused", { error: Bad, success: Schema.String }, () =>
            undoable("start").pipe(
              Effect.zipRight(pivot),
              Effect.zipRight(rolledBack),
              Effect.zipRight(Workflow.section("end")(failing(`end${id}`, 1))),
              Transaction.run({ name: "t", rollbackWhen: () => false }),
              Recovery.recover({ Bad: strategy }),
              Effect.as("fine"),
              Effect.catchTag("RewindRefused", ({ detail, reason }) => Effect.succeed(`${reason} ${detail}`))
            )
          )
        const run = (strategy: Parameters<typeof check>[0]) => {
          id++
          return Effect.provide(Workflow.execute(check(strategy), { id: `${id}` }), layer)
        }
        assert.strictEqual(yield* run(Strategy.restartFrom("nothing")), "Unknown ")
        assert.strictEqual(yield* run(Strategy.restartIteration()), "Unknown ")
        assert.strictEqual(yield* run(Strategy.resume()), "Unknown ")
        assert.strictEqual(yield* run(Strategy.restart()), "Pivot t/pivot")
        assert.strictEqual(yield* run(Strategy.restartFrom("t/gone/later")), "Compensated t/gone/")
        assert.strictEqual(
          yield* run(Strategy.sequence(Strategy.restart(), Strategy.restartFrom("t/end/end6"))),
          "fine"
        )
      })
    )

    it.live("a rewind happens once if the process crashes at any write", () =>
      Effect.gen(function* () {
        const workflow = Workflow.make("rewind", { error: Bad, success: Schema.String }, () =>
          Transaction.run(Effect.zipRight(undoable("a"), undoable("b"))).pipe(
            Effect.zipRight(failing("c", 1)),
            Recovery.recover({ Bad: Strategy.restartFrom("transaction/b") }),
            Effect.zipRight(Transaction.run(undoable("d"))),
            Effect.as("fine")
          )
        )
        const card = yield* Testing.crashEverywhere(workflow, { input: undefined, store })
        // The failing step counts its own failures, so an unrecorded failure may save a rewind.
        assert.deepStrictEqual([card.undosDoubled, card.outcomes], [[], []], Scorecard.format(card))
        assert.deepStrictEqual(
          card.lost.filter(({ what }) => !what.startsWith("b") && !what.startsWith("c")),
          []
        )
      })
    )

    it.scoped("Workflow.rewind rewinds a run to a step, with or without an outcome", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const workflow = Workflow.make(
          "outside",
          { error: Bad, input: Schema.String, success: Schema.String },
          (input) =>
            Effect.all([undoable("a"), undoable("b"), undoable("c")], { discard: true }).pipe(
              Transaction.run(),
              Effect.as(input)
            )
        )
        yield* Effect.provide(Workflow.execute(workflow, { id: "1", input: "x" }), layer)
        yield* Effect.provide(Workflow.rewind(workflow, "1", Workflow.beforeStep("transaction/b")), layer)
        assert.deepStrictEqual(yield* lines, ["a", "b", "c", "undo c", "undo b"])
        const status = yield* Effect.provide(Workflow.status("1"), layer)
        assert.strictEqual(status.status, "stopped")
        assert.deepStrictEqual(
          status.steps.map(({ key }) => key),
          ["transaction/a"]
        )
        assert.strictEqual(yield* Effect.provide(Workflow.resume(workflow, "1"), layer), "x")
        assert.deepStrictEqual(yield* lines, ["a", "b", "c", "undo c", "undo b", "b", "c"])
        const unknown = yield* Effect.provide(
          Effect.flip(Workflow.rewind(workflow, "1", Workflow.beforeStep("nothing"))),
          layer
        )
        assert.strictEqual(unknown._tag, "RewindRefused")
        assert.strictEqual((yield* Effect.provide(Workflow.status("1"), layer)).status, "completed")
        const missing = yield* Effect.provide(Effect.flip(Workflow.rewind(workflow, "2", Workflow.fromStart)), layer)
        assert.strictEqual(missing._tag, "RunNotFound")
      })
    )

    it.scoped("a rewind with a failing compensation stops, and resumes after the fix", () =>
      Effect.gen(function* () {
        const { layer, ledger, lines } = yield* setup
        let broken = true
        const stubborn = Step.make("stubborn", {
          run: Ledger.done("stubborn"),
          compensate: () => (broken ? Effect.fail("no") : Ledger.undone("stubborn"))
        })
        const workflow = Workflow.make("half", { success: Schema.String }, () =>
          Transaction.run(Effect.all([undoable("a"), stubborn, undoable("b")], { discard: true })).pipe(
            Effect.as("fine")
          )
        )
        const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), layer)
        yield* run
        const error = yield* Effect.provide(Effect.flip(Workflow.rewind(workflow, "1", Workflow.fromStart)), layer)
        if (error._tag !== "RewindFailed") return assert.fail(error._tag)
        assert.strictEqual(error.failures[0]?.undo, "transaction/stubborn")
        assert.deepStrictEqual(yield* lines, ["a", "stubborn", "b", "undo b", "undo a"])
        assert.strictEqual((yield* Effect.flip(run))._tag, "RewindFailed")
        assert.isTrue(Option.isSome((yield* Effect.provide(Workflow.status("1"), layer)).rewinding))
        broken = false
        assert.strictEqual(yield* run, "fine")
        assert.deepStrictEqual((yield* lines).slice(5), ["undo stubborn", "a", "stubborn", "b"])
        assert.strictEqual((yield* ledger.lines).length, 9)
      })
    )

    it.scoped("a fork copies the completed steps and runs independently", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const workflow = Workflow.make("fork", { success: Schema.String }, () =>
          Effect.all([undoable("a"), undoable("b"), undoable("c")], { discard: true }).pipe(
            Transaction.run(),
            Effect.as("fine")
          )
        )
        yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), layer)
        const fork = Workflow.fork("1", { as: "2", to: Workflow.beforeStep("transaction/c") })
        yield* Effect.provide(fork, layer)
        assert.strictEqual(yield* Effect.provide(Workflow.resume(workflow, "2"), layer), "fine")
        assert.deepStrictEqual(yield* lines, ["a", "b", "c", "c"])
        assert.strictEqual((yield* Effect.provide(Effect.flip(fork), layer))._tag, "RunExists")
        assert.strictEqual((yield* Effect.provide(Workflow.status("1"), layer)).status, "completed")
      })
    )
  })
}

describe("rewinds in memory", () => {
  it.scoped("do not wait for the reads of a body: list, stats and isValid", () =>
    Effect.gen(function* () {
      const { context, story } = yield* memoryProcess()
      const check = failsOnce("check", Strategy.restart())
      const body = Effect.gen(function* () {
        yield* Numbers.list()
        yield* Numbers.stats()
        yield* Numbers.isValid("1")
        yield* undoable("a")
        yield* check
      })
      const workflow = Workflow.make("looks", { error: Bad }, () => Transaction.run(body))
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      assert.strictEqual(yield* story, "a undo a a")
    })
  )

  it.scoped("that die of a defect of the storage report the defect, and no interruption", () =>
    Effect.gen(function* () {
      let broken = true
      const defect = new Error("a bug in the storage")
      const { context, story } = yield* memoryProcess((store) => ({
        ...store,
        rewind: (...args) => (broken ? Effect.die(defect) : store.rewind(...args))
      }))
      const check = failsOnce("check", Strategy.restart())
      const workflow = Workflow.make("dies", { error: Bad }, () =>
        Transaction.run(Effect.zipRight(undoable("a"), check))
      )
      const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      assert.deepStrictEqual(yield* Effect.exit(run), Exit.die(defect))
      broken = false
      yield* run
      assert.strictEqual(yield* story, "a undo a a")
    })
  )

  it.scoped("run a finalizer that is a step, then replay from the point", () =>
    Effect.gen(function* () {
      const { context, story } = yield* memoryProcess()
      const work = failsOnce("work", Strategy.restart())
      const body = Effect.acquireUseRelease(
        undoable("lock"),
        () => work,
        () => Effect.orDie(undoable("unlock"))
      )
      const workflow = Workflow.make("finalizer", { error: Bad }, () => Transaction.run(body))
      const fiber = yield* Effect.fork(Effect.provide(Workflow.execute(workflow, { id: "1" }), context))
      for (let i = 0; i < 20; i++) {
        yield* Effect.repeatN(Effect.yieldNow(), 400)
        yield* TestClock.adjust("1 second")
      }
      yield* Fiber.join(fiber)
      assert.match(yield* story, /undo lock.* lock unlock$/)
    })
  )

  it.scoped("count the limit of each point of one strategy separately", () =>
    Effect.gen(function* () {
      const { context, story } = yield* memoryProcess()
      let times = 0
      const work = Step.make("work", {
        error: Bad,
        run: Effect.suspend(() => (++times < 3 ? Effect.fail(new Bad()) : Effect.void)),
        recover: {
          Bad: Strategy.sequence(Strategy.restartFrom("b", { times: 1 }), Strategy.restartFrom("a", { times: 1 }))
        }
      })
      const workflow = Workflow.make("points", { error: Bad }, () =>
        Transaction.run(Effect.all([undoable("a"), undoable("b"), work], { discard: true }))
      )
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      assert.strictEqual(yield* story, "a b undo b b undo b undo a a b")
    })
  )

  it.scoped("that are interrupted leave the run open, and continue with the next execution", () =>
    Effect.gen(function* () {
      const { context, story } = yield* memoryProcess()
      let broken = true
      const stubborn = Step.make("stubborn", {
        run: Ledger.done("stubborn"),
        compensate: () =>
          broken ? Effect.fail("no") : Effect.zipRight(Effect.sleep("1 second"), Ledger.undone("stubborn"))
      })
      const workflow = Workflow.make("interrupted", { success: Schema.String }, () =>
        Transaction.run(Effect.all([undoable("a"), stubborn], { discard: true })).pipe(Effect.as("fine"))
      )
      const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      yield* run
      yield* Effect.exit(Effect.provide(Workflow.rewind(workflow, "1", Workflow.fromStart), context))
      broken = false
      const fiber = yield* Effect.fork(run)
      yield* Effect.repeatN(Effect.yieldNow(), 1_000)
      yield* Fiber.interruptFork(fiber)
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(fiber)
      assert.strictEqual((yield* Effect.provide(Workflow.status("1"), context)).status, "stopped")
      assert.strictEqual(yield* run, "fine")
      assert.strictEqual(yield* story, "a stubborn undo a undo stubborn a stubborn")
    })
  )

  it.scoped("from outside are refused at a pivot that was committed with rows", () =>
    Effect.gen(function* () {
      const layer = SqliteStorage.layerClient().pipe(Layer.provideMerge(SqliteClient.layer({ filename: ":memory:" })))
      const context = yield* Layer.build(layer)
      const pivot = Step.transactional("ship", { run: Effect.void, pivot: true })
      const workflow = Workflow.make("ship", {}, () => pivot)
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      const refused = yield* Effect.flip(Effect.provide(Workflow.rewind(workflow, "1", Workflow.fromStart), context))
      assert.strictEqual(refused._tag === "RewindRefused" ? refused.reason : refused._tag, "Pivot")
    })
  )

  it.scoped("fail with the names of steps that the changed program no longer runs", () =>
    Effect.gen(function* () {
      const { context, story } = yield* memoryProcess()
      const make = (steps: ReadonlyArray<string>) =>
        Workflow.make("edited", {}, () =>
          Transaction.run(Effect.forEach(steps, (name) => undoable(name), { discard: true }))
        )
      yield* Effect.provide(Workflow.execute(make(["a", "b"]), { id: "1" }), context)
      const fiber = yield* Effect.fork(
        Effect.flip(Effect.provide(Workflow.rewind(make(["b"]), "1", Workflow.fromStart), context))
      )
      yield* Effect.repeatN(Effect.yieldNow(), 1_000)
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual(error._tag === "RewindFailed" ? error.remaining : error, ["transaction/a"])
      assert.strictEqual(yield* story, "a b undo b")
    })
  )
})
