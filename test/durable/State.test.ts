import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Checkpoint, Parameters, RetryPolicy, State, Step, Strategy, Transaction, Workflow } from "effect-recovery"
import { Ledger, Scorecard, Testing } from "effect-recovery/testing"
import { assertFailed } from "../support/assertions.js"
import { Bad, memoryProcess } from "../support/durable.js"
import { backends } from "../support/storages.js"

class Failed extends Schema.TaggedError<Failed>()("Failed", {}) {}

class Billing extends Context.Tag("Billing")<Billing, boolean>() {}
class Auditor extends Context.Tag("Auditor")<Auditor, boolean>() {}

const Count = State.make("count", Schema.Number, 0)
const Seen = State.make("seen", Schema.mutable(Schema.Array(Schema.String)), [])

describe("State without a run", () => {
  it.effect("is read, written, updated and reset", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Count.get, 0)
      yield* Count.set(5)
      yield* Count.update((n) => n + 1)
      assert.strictEqual(yield* Count.get, 6)
      yield* Count.reset
      assert.strictEqual(yield* Count.get, 0)
      const values = (yield* Count.history()).map(({ value }) => value)
      assert.deepStrictEqual(values, [0, 6, 5])
      assert.strictEqual((yield* Count.history(1)).length, 1)
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("keeps a history of 100 values, or as many as configured", () =>
    Effect.gen(function* () {
      yield* Effect.forEach(
        Array.from({ length: 130 }, (_, n) => n),
        (n) => Count.set(n),
        { discard: true }
      )
      const values = (yield* Count.history()).map(({ value }) => value)
      assert.deepStrictEqual([values.length, values[0], values.at(-1)], [100, 129, 30])
      assert.strictEqual((yield* Count.history(120)).length, 120)
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("returns and stores copies", () =>
    Effect.gen(function* () {
      const mine = ["a"]
      yield* Seen.set(mine)
      mine.push("b")
      const read = yield* Seen.get
      read.push("c")
      assert.deepStrictEqual(yield* Seen.get, ["a"])
      yield* Seen.reset
      ;(yield* Seen.get).push("d")
      assert.deepStrictEqual(yield* Seen.get, [])
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("returns the initial value after the value expires", () =>
    Effect.gen(function* () {
      const Token = State.make("token", Schema.NullOr(Schema.String), null, { ttl: "1 minute" })
      yield* Token.set("secret")
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(yield* Token.get, "secret")
      yield* TestClock.adjust("1 second")
      assert.isNull(yield* Token.get)
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("a validator refuses with a reason; hooks receive the requested and the written value", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const Age = State.make("age", Schema.Number, 1, {
        validate: (next, previous) => (next < previous ? `${next} is less than ${previous}` : undefined),
        before: ({ next, previous }) => Effect.sync(() => void log.push(`before ${previous} ${next}`)),
        after: ({ next, previous }) => Effect.sync(() => void log.push(`after ${previous} ${next}`))
      })
      yield* Age.set(3)
      const error = yield* Effect.flip(Age.set(2))
      assert.deepStrictEqual(error, new State.StateRejected({ state: "age", reason: "2 is less than 3" }))
      assert.strictEqual(yield* Age.get, 3)
      assert.deepStrictEqual(log, ["before 1 3", "after 1 3", "before 3 2"])
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("changes emits the current value and each change", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(Count.changes, 3)))
      yield* Effect.repeatN(Effect.yieldNow(), 50)
      yield* Count.set(1)
      yield* Effect.repeatN(Effect.yieldNow(), 50)
      yield* Count.set(2)
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(fiber)), [0, 1, 2])
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("a group reads and writes its cells together, and exports JSON without private cells", () =>
    Effect.gen(function* () {
      const Secret = State.make("secret", Schema.String, "", { private: true })
      const When = State.make("when", Schema.Date, new Date(0))
      const all = State.group({ count: Count, secret: Secret, when: When })
      yield* all.set({ count: 2, secret: "x" })
      assert.deepStrictEqual(yield* all.get, { count: 2, secret: "x", when: new Date(0) })
      const json = yield* all.exportJson
      assert.deepStrictEqual(JSON.parse(json), { count: 2, when: "1970-01-01T00:00:00.000Z" })
      yield* all.reset
      yield* all.importJson(json)
      assert.deepStrictEqual(yield* all.get, { count: 2, secret: "", when: new Date(0) })
      for (const bad of ["[]", "{", `{"count":"two"}`]) {
        assert.strictEqual((yield* Effect.flip(all.importJson(bad)))._tag, "StateRejected")
      }
      yield* all.importJson(`{"count":7,"other":1}`)
      assert.strictEqual(yield* Count.get, 7)
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("an export hides Redacted parts, and an import of what was hidden is rejected", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({ user: Schema.String, password: Schema.Redacted(Schema.String) })
      const Login = State.make("login", schema, { user: "", password: Redacted.make("") })
      const all = State.group({ count: Count, login: Login })
      yield* all.set({ count: 3, login: { user: "ada", password: Redacted.make("hunter2") } })
      const json = yield* all.exportJson
      assert.deepStrictEqual(JSON.parse(json), { count: 3, login: { user: "ada", password: "<redacted>" } })
      const error = yield* Effect.flip(all.importJson(json))
      assert.match(error.message, /"login".*the export has hidden its secrets/)
      assert.strictEqual(Redacted.value((yield* Login.get).password), "hunter2")
      yield* all.importJson(JSON.stringify({ login: { user: "bob", password: "hunter3" } }))
      assert.strictEqual(Redacted.value((yield* Login.get).password), "hunter3")
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("a cell with an owner needs the owner's service to be written, and none to be read", () =>
    Effect.gen(function* () {
      const Balance = State.make("balance", Schema.Number, 0, { owner: Billing, tags: ["money"] })
      const charge = Balance.update((n) => n + 5)
      expectTypeOf(charge).toEqualTypeOf<Effect.Effect<void, never, State.Cells | Billing>>()
      expectTypeOf(Balance.get).toEqualTypeOf<Effect.Effect<number, never, State.Cells>>()
      assert.strictEqual(Balance.owner, "Billing")
      yield* Effect.provideService(charge, Billing, true)
      assert.strictEqual(yield* Balance.get, 5)
      // The check also runs if the types are bypassed.
      const around = charge as Effect.Effect<void, never, State.Cells>
      const exit = yield* Effect.exit(around)
      assertFailed(exit, "die")
      assert.strictEqual(yield* Balance.get, 5)
      // A compensation needs no right of its own.
      const failing = Effect.zipRight(Checkpoint.scoped(Balance), Effect.zipRight(charge, Effect.fail("declined")))
      yield* Effect.scoped(failing).pipe(Effect.provideService(Billing, true), Effect.ignore)
      assert.strictEqual(yield* Balance.get, 5)
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("a cell with readers needs a service to be read, and so to be written", () =>
    Effect.gen(function* () {
      const Salary = State.make("salary", Schema.Number, 100, { owner: Billing, readers: Auditor })
      const Grade = State.make("grade", Schema.Number, 1, { readers: Auditor, readOnly: true })
      expectTypeOf(Salary.get).toEqualTypeOf<Effect.Effect<number, never, State.Cells | Auditor>>()
      expectTypeOf(Salary.changes).toEqualTypeOf<Stream.Stream<number, never, State.Cells | Auditor>>()
      expectTypeOf(Salary.set(1)).toEqualTypeOf<Effect.Effect<void, never, State.Cells | Auditor | Billing>>()
      expectTypeOf(Grade.get).toEqualTypeOf<Effect.Effect<number, never, State.Cells | Auditor>>()
      const read = Effect.zipRight(Salary.set(110), Effect.all([Salary.get, Grade.get, Stream.runHead(Salary.changes)]))
      const [salary, grade, head] = yield* read.pipe(
        Effect.provideService(Billing, true),
        Effect.provideService(Auditor, true)
      )
      assert.deepStrictEqual([salary, grade, Option.getOrThrow(head)], [110, 1, 110])
      const around = Salary.get as Effect.Effect<number, never, State.Cells>
      assert.isTrue(Exit.isFailure(yield* Effect.exit(around)))
    }).pipe(Effect.provide(State.layer))
  )

  it.effect("finds cells of a group by tag", () =>
    Effect.gen(function* () {
      const Price = State.make("price", Schema.Number, 3, { owner: Billing, tags: ["money", "public"] })
      const Cost = State.make("cost", Schema.Number, 2, { tags: ["money"] })
      const all = State.group({ count: Count, price: Price, cost: Cost })
      expectTypeOf(all.reset).toEqualTypeOf<Effect.Effect<void, never, State.Cells | Billing>>()
      const money = all.tagged("money")
      expectTypeOf(money.get).toEqualTypeOf<
        Effect.Effect<{ readonly count?: number; readonly price?: number; readonly cost?: number }, never, State.Cells>
      >()
      yield* Effect.provideService(all.set({ count: 1, price: 4, cost: 1 }), Billing, true)
      assert.deepStrictEqual(yield* money.get, { price: 4, cost: 1 })
      assert.deepStrictEqual(JSON.parse(yield* money.tagged("public").exportJson), { price: 4 })
      yield* Effect.provideService(money.reset, Billing, true)
      assert.deepStrictEqual(yield* all.get, { count: 1, price: 3, cost: 2 })
      assert.deepStrictEqual(yield* all.tagged("missing").get, {})
    }).pipe(Effect.provide(State.layer))
  )

  it("a read-only cell cannot be written", () => {
    const Limit = State.make("limit", Schema.Number, 10, { readOnly: true })
    // @ts-expect-error there is no set
    void Limit.set
  })
})

for (const backend of backends) {
  const store = Effect.map(backend.make, (place) => place.store)

  describe(`${backend.name}: State of a run`, () => {
    it.scoped("a failed transaction restores it; another run never sees it", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const body = Effect.gen(function* () {
          yield* Count.set(1)
          yield* Seen.set(["kept"])
          const failing = Count.set(2).pipe(
            Effect.zipRight(Seen.update((seen) => [...seen, "lost"])),
            Effect.zipRight(Effect.fail(new Failed()))
          )
          yield* Effect.ignore(Transaction.run(failing))
          return [yield* Count.get, ...(yield* Seen.get)].join(" ")
        })
        const workflow = Workflow.make("state", { success: Schema.String, input: Schema.Boolean }, (write) =>
          write ? body : Effect.map(Count.get, String)
        )
        const run = (id: string, input: boolean) =>
          Effect.provide(Workflow.execute(workflow, { id, input }), place.join())
        assert.strictEqual(yield* run("1", true), "1 kept")
        assert.strictEqual(yield* run("2", false), "0")
        assert.deepStrictEqual(yield* Effect.provide(State.read(Count, "1"), place.join()), Option.some(1))
        assert.deepStrictEqual(yield* Effect.provide(State.read(Count, "2"), place.join()), Option.none())
      })
    )

    it.scoped("a write in a step is kept with the step's result, and dropped if the step fails", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        let attempts = 0
        const flaky = Step.make("flaky", {
          error: Failed,
          run: Effect.gen(function* () {
            yield* Count.update((n) => n + 1)
            yield* Count.update((n) => n + 1)
            if (++attempts < 3) yield* new Failed()
          }),
          retry: RetryPolicy.fixed({ maxRetries: 3, delay: 0 })
        })
        const broken = Step.make("broken", {
          error: Failed,
          run: Effect.zipRight(Count.set(99), Effect.fail(new Failed()))
        })
        const workflow = Workflow.make("state", { success: Schema.Number, error: Failed }, () =>
          flaky.pipe(Effect.zipRight(Effect.ignore(broken)), Effect.zipRight(Count.get))
        )
        const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), place.join())
        assert.strictEqual(yield* run, 2)
      })
    )

    it.live("survives a crash at any write with its exact value", () =>
      Effect.gen(function* () {
        const step = (name: string) =>
          Step.make(name, {
            run: Effect.zipRight(
              Ledger.done(name),
              Seen.update((seen) => [...seen, name])
            )
          })
        const workflow = Workflow.make("state", { success: Schema.String, error: Failed }, () =>
          Effect.gen(function* () {
            yield* step("a")
            yield* Count.update((n) => n + 1)
            const lost = Count.update((n) => n + 10).pipe(Effect.zipRight(step("lost")), Effect.zipRight(new Failed()))
            const undone = Step.make("undone", {
              run: Ledger.done("undone"),
              compensate: () => Ledger.undone("undone")
            })
            yield* Effect.ignore(Transaction.run(Effect.zipRight(undone, lost)))
            yield* step("b")
            yield* Count.update((n) => n + 100)
            return `${yield* Count.get} ${(yield* Seen.get).join(",")}`
          })
        )
        const card = yield* Testing.crashEverywhere(workflow, { input: undefined, store })
        assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
      })
    )

    it.scoped("local cells belong to their section, global ones to all runs", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const Local = State.make("local", Schema.Number, 0, { scope: "local" })
        const Total = State.make("total", Schema.Number, 0, { scope: "global" })
        const item = Local.update((n) => n + 1).pipe(
          Effect.zipRight(Local.update((n) => n + 1)),
          Effect.zipRight(Total.update((n) => n + 1)),
          Effect.zipRight(Local.get)
        )
        const workflow = Workflow.make("state", { success: Schema.Array(Schema.Number) }, () =>
          Effect.forEach([0, 1], (i) => Workflow.section("item", i)(item)).pipe(
            Effect.zipWith(Total.get, (local, total) => [...local, total])
          )
        )
        const run = (id: string) => Effect.provide(Workflow.execute(workflow, { id }), place.join())
        assert.deepStrictEqual(yield* run("1"), [2, 2, 2])
        assert.deepStrictEqual(yield* run("2"), [2, 2, 4])
        assert.deepStrictEqual(yield* run("1"), [2, 2, 2])
        const values = yield* Effect.forEach([3, 4, 5, 6], (id) => run(String(id)), { concurrency: 4 })
        assert.strictEqual(Math.max(...values.map((value) => value[2] ?? 0)), 12)
      })
    )

    it.live("global cells are written once if the process crashes at any write", () =>
      Effect.gen(function* () {
        const Total = State.make("total", Schema.Number, 0, { scope: "global" })
        const workflow = Workflow.make("total", { success: Schema.Number }, () =>
          Effect.zipRight(
            Effect.repeatN(
              Total.update((n) => n + 1),
              2
            ),
            Total.get
          )
        )
        const card = yield* Testing.crashEverywhere(workflow, { input: undefined, store })
        assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
      })
    )

    it.scoped("a strategy changes parameters for the next attempt and all later ones", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const Model = Parameters.make("model", Schema.Struct({ batch: Schema.Number }), { batch: 8 })
        const tried: Array<number> = []
        const generate = Step.make("generate", {
          success: Schema.Number,
          error: Failed,
          run: Effect.flatMap(Model.get, ({ batch }) => {
            tried.push(batch)
            return batch > 2 ? Effect.fail(new Failed()) : Effect.succeed(batch)
          }),
          recover: {
            Failed: Strategy.modify(
              Model,
              ({ batch }) => ({ batch: batch / 2 }),
              RetryPolicy.fixed({ maxRetries: 3, delay: 0 })
            )
          }
        })
        const workflow = Workflow.make("model", { success: Schema.Array(Schema.Number), error: Failed }, () =>
          Effect.zipWith(generate, Model.get, (batch, now) => [batch, now.batch])
        )
        const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), place.join())
        assert.deepStrictEqual(yield* run, [2, 2])
        assert.deepStrictEqual(tried, [8, 4, 2])
      })
    )

    it.live("changed parameters survive a crash at any write", () =>
      Effect.gen(function* () {
        const Model = Parameters.make("model", Schema.Number, 8)
        const generate = Step.make("generate", {
          error: Failed,
          run: Effect.flatMap(Model.get, (batch) =>
            Effect.zipRight(Ledger.done(`batch ${batch}`), batch > 2 ? Effect.fail(new Failed()) : Effect.void)
          ),
          recover: {
            Failed: Strategy.modify(Model, (batch) => batch / 2, RetryPolicy.fixed({ maxRetries: 3, delay: 1_000 }))
          }
        })
        const workflow = Workflow.make("model", { success: Schema.Number, error: Failed }, () =>
          Effect.zipRight(generate, Model.get)
        )
        const card = yield* Testing.crashEverywhere(workflow, { input: undefined, store })
        assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
      })
    )
  })
}

describe("State in memory", () => {
  it.scoped("counts every update of concurrent steps and fibers", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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

  it.scoped("restored by Checkpoint.scoped is restored in the journal too", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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

  it.scoped("written by a compensation keeps the value of the rollback", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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

  it.scoped("written by a failed alternate is dropped", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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

  it.scoped("is read from outside under a name with slashes, spaces and #", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
      const Odd = State.make("files/done #1", Schema.Number, 0)
      const workflow = Workflow.make("odd", {}, () => Odd.set(3))
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      assert.deepStrictEqual(yield* Effect.provide(State.read(Odd, "1"), context), Option.some(3))
    })
  )

  it.effect("emits each change once, also to a slow reader", () =>
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

  it.effect("imports a whole group or nothing", () =>
    Effect.gen(function* () {
      const Small = State.make("small", Schema.Number, 0, { validate: (n) => (n > 5 ? "too large" : undefined) })
      const both = State.group({ count: Count, small: Small })
      assert.strictEqual((yield* Effect.flip(both.importJson(`{"count":1,"small":9}`)))._tag, "StateRejected")
      assert.deepStrictEqual(yield* both.get, { count: 0, small: 0 })
    }).pipe(Effect.provide(State.layer))
  )
})
