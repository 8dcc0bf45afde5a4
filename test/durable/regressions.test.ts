import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Checkpoint, RetryPolicy, State, Step, Storage, Strategy, Transaction, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { Ledger, Scorecard, Testing } from "effect-recovery/testing"

/** One test for each bug that was found by reading or by trying. */

class Bad extends Schema.TaggedError<Bad>()("Bad", {}) {}

const noted = (name: string) => Step.make(name, { run: Ledger.done(name), compensate: () => Ledger.undone(name) })

const slow = (name: string, millis: number) =>
  Step.make(name, {
    run: Effect.zipRight(Effect.sleep(millis), Ledger.done(name)),
    compensate: () => Ledger.undone(name)
  })

const failsOnce = (
  name: string,
  strategy: Strategy.Strategy<Bad, never, Strategy.Exhausted | Strategy.RewindRefused, Strategy.Rewinder>
) => {
  let times = 0
  return Step.make(name, {
    error: Bad,
    run: Effect.suspend(() => (times++ === 0 ? Effect.fail(new Bad()) : Effect.void)),
    recover: { Bad: strategy }
  })
}

const setup = Effect.gen(function* () {
  const ledger = yield* Ledger.make
  const layer = Layer.mergeAll(
    Layer.succeed(Ledger.Ledger, ledger),
    Storage.layerMemory,
    RetryPolicy.layer(RetryPolicy.none)
  )
  const context = yield* Layer.build(layer)
  const lines = Effect.map(ledger.lines, (all) =>
    all.map(({ effect, kind }) => (kind === "done" ? effect : `undo ${effect}`)).join(" ")
  )
  return { context, lines }
})

const Count = State.make("count", Schema.Number, 0)
const Numbers = Checkpoint.make("numbers", { schema: Schema.Number })

describe("rewinds", () => {
  it.scoped("do not wait for what the body only looks at", () =>
    Effect.gen(function* () {
      const { context, lines } = yield* setup
      const check = failsOnce("check", Strategy.restart())
      const body = Effect.gen(function* () {
        yield* Numbers.list()
        yield* Numbers.stats()
        yield* Numbers.isValid("1")
        yield* noted("a")
        yield* check
      })
      const workflow = Workflow.make("looks", { error: Bad }, () => Transaction.run(body))
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      assert.strictEqual(yield* lines, "a undo a a")
    })
  )

  it.scoped("pass a finalizer that is a step", () =>
    Effect.gen(function* () {
      const { context, lines } = yield* setup
      const work = failsOnce("work", Strategy.restart())
      const body = Effect.acquireUseRelease(
        noted("lock"),
        () => work,
        () => Effect.orDie(noted("unlock"))
      )
      const workflow = Workflow.make("finalizer", { error: Bad }, () => Transaction.run(body))
      const fiber = yield* Effect.fork(Effect.provide(Workflow.execute(workflow, { id: "1" }), context))
      for (let i = 0; i < 20; i++) {
        yield* Effect.repeatN(Effect.yieldNow(), 400)
        yield* TestClock.adjust("1 second")
      }
      yield* Fiber.join(fiber)
      assert.match(yield* lines, /undo lock.* lock unlock$/)
    })
  )

  it.scoped("of one strategy to several points are counted apart", () =>
    Effect.gen(function* () {
      const { context, lines } = yield* setup
      let times = 0
      const work = Step.make("work", {
        error: Bad,
        run: Effect.suspend(() => (++times < 3 ? Effect.fail(new Bad()) : Effect.void)),
        recover: {
          Bad: Strategy.sequence(Strategy.restartFrom("b", { times: 1 }), Strategy.restartFrom("a", { times: 1 }))
        }
      })
      const workflow = Workflow.make("points", { error: Bad }, () =>
        Transaction.run(Effect.all([noted("a"), noted("b"), work], { discard: true }))
      )
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      assert.strictEqual(yield* lines, "a b undo b b undo b undo a a b")
    })
  )

  it.scoped("that are interrupted on their way are no outcome", () =>
    Effect.gen(function* () {
      const { context, lines } = yield* setup
      let broken = true
      const stubborn = Step.make("stubborn", {
        run: Ledger.done("stubborn"),
        compensate: () =>
          broken ? Effect.fail("no") : Effect.zipRight(Effect.sleep("1 second"), Ledger.undone("stubborn"))
      })
      const workflow = Workflow.make("interrupted", { success: Schema.String }, () =>
        Transaction.run(Effect.all([noted("a"), stubborn], { discard: true })).pipe(Effect.as("fine"))
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
      assert.strictEqual(yield* lines, "a stubborn undo a undo stubborn a stubborn")
    })
  )

  it.scoped("from outside do not pass a pivot that was committed together with rows", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const pivot = Step.transactional("ship", { run: Effect.void, pivot: true })
      const workflow = Workflow.make("ship", {}, () => pivot)
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      const refused = yield* Effect.flip(Effect.provide(Workflow.rewind(workflow, "1", Workflow.fromStart), context))
      assert.strictEqual(refused._tag === "RewindRefused" ? refused.reason : refused._tag, "Pivot")
    })
  )

  it.scoped("name what the program does not come by any more", () =>
    Effect.gen(function* () {
      const { context, lines } = yield* setup
      const make = (steps: ReadonlyArray<string>) =>
        Workflow.make("edited", {}, () =>
          Transaction.run(Effect.forEach(steps, (name) => noted(name), { discard: true }))
        )
      yield* Effect.provide(Workflow.execute(make(["a", "b"]), { id: "1" }), context)
      const fiber = yield* Effect.fork(
        Effect.flip(Effect.provide(Workflow.rewind(make(["b"]), "1", Workflow.fromStart), context))
      )
      yield* Effect.repeatN(Effect.yieldNow(), 1_000)
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual(error._tag === "RewindFailed" ? error.remaining : error, ["transaction/a"])
      assert.strictEqual(yield* lines, "a b undo b")
    })
  )
})

describe("rollbacks", () => {
  it.live("of an interrupted transaction end, wherever a process does", () =>
    Effect.gen(function* () {
      const race = Effect.race(Transaction.run(Effect.zipRight(noted("a"), Effect.never)), slow("quick", 100))
      const workflow = Workflow.make("race", {}, () => Transaction.run(race, { name: "around" }))
      const card = yield* Testing.crashEverywhere(workflow, { input: undefined })
      assert.deepStrictEqual([card.undosMissed, card.undosDoubled, card.outcomes], [[], [], []], Scorecard.format(card))
    })
  )

  it.live("of siblings, one of which fails, miss nothing", () =>
    Effect.gen(function* () {
      const fails = Step.make("fails", { error: Bad, run: Effect.zipRight(Effect.sleep(100), new Bad()) })
      const workflow = Workflow.make("siblings", { error: Bad }, () =>
        Effect.asVoid(
          Effect.all([Transaction.run(Effect.zipRight(noted("a"), slow("b", 1_000))), fails], { concurrency: 2 })
        )
      )
      const card = yield* Testing.crashEverywhere(workflow, { input: undefined })
      assert.deepStrictEqual([card.undosMissed, card.undosDoubled], [[], []], Scorecard.format(card))
    })
  )

  it.scoped("of a fiber nobody waits for end before the run does", () =>
    Effect.gen(function* () {
      const { context, lines } = yield* setup
      const undoSlowly = (name: string) =>
        Step.make(name, {
          run: Ledger.done(name),
          compensate: () => Effect.zipRight(Effect.sleep("1 second"), Ledger.undone(name))
        })
      const tried = Transaction.run(
        Effect.all([undoSlowly("a"), undoSlowly("b"), Effect.never], { discard: true })
      ).pipe(Effect.disconnect, Effect.timeoutOption("100 millis"))
      const workflow = Workflow.make("disconnected", {}, () => Effect.asVoid(tried))
      const fiber = yield* Effect.fork(Effect.provide(Workflow.execute(workflow, { id: "1" }), context))
      for (let i = 0; i < 10; i++) {
        yield* Effect.repeatN(Effect.yieldNow(), 200)
        yield* TestClock.adjust("500 millis")
      }
      yield* Fiber.join(fiber)
      assert.strictEqual(yield* lines, "a b undo b undo a")
    })
  )

  it.scoped("undo what a fiber did meanwhile", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const work = (name: string) =>
        Effect.sync(() => void log.push(name)).pipe(
          Transaction.withCompensation(() =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => void log.push(`undo ${name}`))
            )
          )
        )
      const body = Effect.forkDaemon(Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 3), work("late"))).pipe(
        Effect.zipRight(work("a")),
        Effect.zipRight(work("b")),
        Effect.zipRight(new Bad())
      )
      yield* Effect.exit(Transaction.run(body))
      yield* Effect.repeatN(Effect.yieldNow(), 50)
      assert.deepStrictEqual(
        log.filter((line) => line.startsWith("undo")).length,
        log.filter((line) => !line.startsWith("undo")).length
      )
    })
  )

  it.effect("happen also if rollbackWhen cannot tell", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const work = Transaction.withCompensation(Effect.void, () => Effect.sync(() => void log.push("undone")))
      yield* Effect.exit(
        Transaction.run(Effect.zipRight(work, new Bad()), {
          rollbackWhen: () => {
            throw new Error("cannot tell")
          }
        })
      )
      assert.deepStrictEqual(log, ["undone"])
    })
  )
})

describe("transactions that were rolled back", () => {
  it.scoped("by a step that died end again, or begin anew when it is mended", () =>
    Effect.gen(function* () {
      const { context, lines } = yield* setup
      let bug = true
      const dies = Step.make("dies", { run: Effect.suspend(() => (bug ? Effect.die("bug") : Effect.void)) })
      const workflow = Workflow.make("dies", {}, () => Transaction.run(Effect.zipRight(noted("a"), dies)))
      const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      yield* Effect.exit(run)
      yield* Effect.exit(run)
      bug = false
      yield* run
      assert.match(yield* lines, /^(a undo a )+a$/)
    })
  )

  it.scoped("and answered with a step, do not stand in the way of a rewind", () =>
    Effect.gen(function* () {
      const { context, lines } = yield* setup
      const inner = Transaction.run(Effect.zipRight(noted("a"), new Bad()), { name: "inner" })
      const check = failsOnce("check", Strategy.restart())
      const workflow = Workflow.make("answered", { error: Bad }, () =>
        Transaction.run(
          Effect.zipRight(
            Effect.catchTag(inner, "Bad", () => noted("instead")),
            check
          )
        )
      )
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      assert.strictEqual(yield* lines, "a undo a instead undo instead a undo a instead")
    })
  )

  it.live("after a crash undo the losers of a race as well", () =>
    Effect.gen(function* () {
      const hedge = Effect.race(slow("first", 150), Effect.delay(slow("second", 1_000), 100))
      const workflow = Workflow.make("hedge", { error: Bad }, () => Transaction.run(Effect.zipRight(hedge, new Bad())))
      const card = yield* Testing.crashEverywhere(workflow, { input: undefined })
      assert.deepStrictEqual([card.undosMissed, card.outcomes], [[], []], Scorecard.format(card))
    })
  )
})

describe("State", () => {
  it.scoped("counts every update of steps that run side by side", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const add = Step.make("add", {
        run: Effect.zipRight(
          Count.update((n) => n + 1),
          Effect.yieldNow()
        )
      })
      const workflow = Workflow.make("parallel", { success: Schema.Number }, () =>
        Effect.forEach([1, 2, 3, 4, 5], (i) => Workflow.section("item", i)(add), { concurrency: 5 }).pipe(
          Effect.zipRight(Count.get)
        )
      )
      assert.strictEqual(yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context), 5)
      const many = Effect.forEach(Array.from({ length: 20 }), () => Count.update((n) => n + 1), {
        concurrency: "unbounded"
      })
      assert.strictEqual(yield* Effect.provide(Effect.zipRight(many, Count.get), State.layer), 20)
    })
  )

  it.scoped("put back by a scope is put back for whoever reads the journal, too", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const scope = Effect.scoped(
        Checkpoint.scoped(Count).pipe(Effect.zipRight(Count.set(2)), Effect.zipRight(Effect.fail("no")))
      )
      const workflow = Workflow.make("scoped", { success: Schema.Number }, () =>
        Count.set(1).pipe(Effect.zipRight(Effect.ignore(scope)), Effect.zipRight(Count.get))
      )
      assert.strictEqual(yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context), 1)
      assert.deepStrictEqual(yield* Effect.provide(State.read(Count, "1"), context), Option.some(1))
    })
  )

  it.scoped("written by a compensation is what the rollback makes of it", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const add = Step.make("add", {
        run: Count.update((n) => n + 1),
        compensate: () => Count.update((n) => n - 1)
      })
      const workflow = Workflow.make("undo", { success: Schema.Number }, () =>
        Transaction.run(Effect.zipRight(add, new Bad())).pipe(Effect.ignore, Effect.zipRight(Count.get))
      )
      assert.strictEqual(yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context), 0)
    })
  )

  it.scoped("written by a way that failed does not count", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const detour = Step.make("detour", {
        error: Bad,
        run: Effect.fail(new Bad()),
        recover: {
          Bad: Strategy.sequence(
            Strategy.alternate((_: Bad) => Effect.zipRight(Count.set(7), new Bad())),
            Strategy.skip()
          )
        }
      })
      const workflow = Workflow.make("detour", { success: Schema.Number }, () => Effect.zipRight(detour, Count.get))
      assert.strictEqual(yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context), 0)
    })
  )

  it.scoped("is read from outside under any name", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const Odd = State.make("files/done #1", Schema.Number, 0)
      const workflow = Workflow.make("odd", {}, () => Odd.set(3))
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      assert.deepStrictEqual(yield* Effect.provide(State.read(Odd, "1"), context), Option.some(3))
    })
  )

  it.effect("tells every change, and each once", () =>
    Effect.gen(function* () {
      const seen = yield* Effect.fork(
        Stream.runCollect(
          Stream.take(
            Stream.tap(Count.changes, () => Effect.repeatN(Effect.yieldNow(), 20)),
            4
          )
        )
      )
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      for (const n of [5, 6, 7]) yield* Count.set(n)
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(seen)), [0, 5, 6, 7])
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("imports all of it or nothing", () =>
    Effect.gen(function* () {
      const Small = State.make("small", Schema.Number, 0, { validate: (n) => (n > 5 ? "too large" : undefined) })
      const both = State.group({ count: Count, small: Small })
      assert.strictEqual((yield* Effect.flip(both.importJson(`{"count":1,"small":9}`)))._tag, "StateRejected")
      assert.deepStrictEqual(yield* both.get, { count: 0, small: 0 })
    }).pipe(Effect.provide(State.layer))
  )
})

describe("checkpoints", () => {
  it.scoped("tell schemas apart by their form, whatever they are called", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const one = Checkpoint.make("c", {
        schema: Schema.Struct({ a: Schema.Number }).annotations({ identifier: "S" })
      })
      const two = Checkpoint.make("c", {
        schema: Schema.Struct({ b: Schema.String }).annotations({ identifier: "S" })
      })
      const error = yield* Effect.provide(Effect.zipRight(one.save({ a: 1 }), Effect.flip(two.latest())), context)
      assert.strictEqual(error._tag, "CheckpointInvalid")
    })
  )

  it.scoped("refuse what JSON would write as something else", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const Anything = Checkpoint.make("anything", { schema: Schema.Unknown })
      for (const state of [new Map([[1, 2]]), { at: new Date(0) }, [() => 1], new (class Odd {})()]) {
        const error = yield* Effect.provide(Effect.flip(Anything.save(state)), context)
        assert.strictEqual(error._tag, "JournalError")
      }
      const metadata = { big: 1n }
      assert.strictEqual(
        (yield* Effect.provide(Effect.flip(Anything.save(1, { metadata })), context))._tag,
        "JournalError"
      )
    })
  )

  it.scoped("are checked by all checks, also if one dies or hangs", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const Job = Checkpoint.make("job", {
        schema: Schema.Number,
        checks: [
          Checkpoint.dependency("dies", Effect.die("bug")),
          Checkpoint.dependency("hangs", Effect.never),
          Checkpoint.dependency("fails", Effect.fail("no"))
        ]
      })
      const program = Effect.gen(function* () {
        const { id } = yield* Job.save(1, { dependencies: ["dies", "hangs", "fails"] })
        const fiber = yield* Effect.fork(Job.validate(id))
        yield* Effect.repeatN(Effect.yieldNow(), 100)
        yield* TestClock.adjust("30 seconds")
        return (yield* Fiber.join(fiber)).errors.length
      })
      assert.strictEqual(yield* Effect.provide(program, context), 3)
    })
  )

  it.scoped("may have a schema that is defined after them", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      interface Tree {
        readonly children: ReadonlyArray<Tree>
      }
      const Trees = Checkpoint.make("trees", { schema: Schema.suspend((): Schema.Schema<Tree> => Later) })
      const Later: Schema.Schema<Tree> = Schema.Struct({
        children: Schema.Array(Schema.suspend((): Schema.Schema<Tree> => Later))
      })
      const tree = { children: [{ children: [] }] }
      const program = Effect.zipRight(Trees.save(tree), Trees.latest())
      assert.deepStrictEqual(Option.getOrThrow(yield* Effect.provide(program, context)).state, tree)
    })
  )

  it.scoped("go with a fork", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const look = Step.make("look", {
        success: Schema.NullOr(Schema.Number),
        run: Effect.map(Effect.orDie(Numbers.latest()), (latest) =>
          Option.getOrNull(Option.map(latest, ({ state }) => state))
        )
      })
      const workflow = Workflow.make("fork", { success: Schema.NullOr(Schema.Number) }, () =>
        Effect.zipRight(Numbers.save(1), look)
      )
      const program = Effect.gen(function* () {
        const first = yield* Workflow.execute(workflow, { id: "1" })
        yield* Workflow.fork("1", { as: "2", to: Workflow.beforeStep("look") })
        return [first, yield* Workflow.resume(workflow, "2")]
      })
      assert.deepStrictEqual(yield* Effect.provide(program, context), [1, 1])
    })
  )

  it.scoped("inside of a transactional step are refused at once, not waited for", () =>
    Effect.gen(function* () {
      const layer = SqliteStorage.layerClient().pipe(Layer.provideMerge(SqliteClient.layer({ filename: ":memory:" })))
      const step = Step.transactional("step", { run: Effect.asVoid(Numbers.save(1)) })
      const workflow = Workflow.make("inside", {}, () => step)
      const error = yield* Effect.flip(Effect.provide(Workflow.execute(workflow, { id: "1" }), layer))
      assert.strictEqual(error._tag === "StorageError" ? error.reason : error._tag, "Client")
    })
  )

  it.scoped("are not hidden by what all runs share", () =>
    Effect.gen(function* () {
      const { context } = yield* setup
      const Total = State.make("total", Schema.Number, 0, { scope: "global" })
      const workflow = Workflow.make("total", {}, () => Total.update((n) => n + 1))
      const program = Effect.gen(function* () {
        yield* Numbers.save(1)
        yield* Workflow.execute(workflow, { id: "1" })
        return (yield* Checkpoint.list({ limit: 1 })).map(({ name }) => name)
      })
      assert.deepStrictEqual(yield* Effect.provide(program, context), ["numbers"])
    })
  )
})

describe("the testing kit", () => {
  it.live("does not blame a step for what a cut attempt may do, however often it does it", () =>
    Effect.gen(function* () {
      const mail = Step.make("mail", { run: Effect.zipRight(Ledger.done("mail"), Ledger.done("mail")) })
      const card = yield* Testing.crashEverywhere(
        Workflow.make("mail", {}, () => mail),
        { input: undefined }
      )
      assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
    })
  )

  it.live("sees another outcome behind the same message", () =>
    Effect.gen(function* () {
      class Same extends Schema.TaggedError<Same>()("Same", { n: Schema.Number }) {
        override get message(): string {
          return "same"
        }
      }
      let n = 0
      const step = Step.make("step", { error: Same, run: Effect.suspend(() => Effect.fail(new Same({ n: ++n }))) })
      const card = yield* Testing.crashEverywhere(
        Workflow.make("same", { error: Same }, () => step),
        { input: undefined }
      )
      assert.isAbove(card.outcomes.length, 0)
    })
  )

  it.live("finds effects that are repeated outside of steps, and undos that run twice", () =>
    Effect.gen(function* () {
      const naked = Workflow.make("naked", { error: Bad }, () =>
        Ledger.done("naked").pipe(Effect.zipRight(noted("a")), Transaction.run())
      )
      const card = yield* Testing.crashEverywhere(naked, { input: undefined })
      assert.isAbove(card.duplicated.length, 0)
    })
  )
})
