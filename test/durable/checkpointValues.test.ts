import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Checkpoint, State, Step, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { memoryProcess, Numbers } from "../support/durable.js"

interface Chain {
  readonly item: string
  readonly next: Chain | null
  readonly end: { readonly why: string } | null
}

describe("Checkpoint values", () => {
  it.scoped("of two schemas with one identifier are distinguished by their structure", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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

  it.scoped("may have a generic schema, which is a new one at each level of its recursion", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
      const chainOf = (item: Schema.Schema<string>): Schema.Schema<Chain> =>
        Schema.Struct({
          item,
          next: Schema.NullOr(Schema.suspend(() => chainOf(item))),
          end: Schema.suspend(() => End)
        })
      const End = Schema.NullOr(Schema.Struct({ why: Schema.String }))
      const Chains = Checkpoint.make("chain", { schema: chainOf(Schema.String) })
      const state = { item: "a", next: { item: "b", next: null, end: { why: "no more" } }, end: null }
      const read = yield* Effect.provide(Effect.zipRight(Chains.save(state), Chains.latest()), context)
      assert.deepStrictEqual(
        Option.map(read, (found) => found.state),
        Option.some(state)
      )
    })
  )

  it.scoped("that JSON cannot represent are refused", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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

  it.scoped("are checked by all checks, even if one dies or hangs", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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

  it.scoped("may have a schema that is defined after the checkpoint", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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

  it.scoped("are copied to a fork", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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

  it.scoped("are refused at once inside a transactional step", () =>
    Effect.gen(function* () {
      const layer = SqliteStorage.layerClient().pipe(Layer.provideMerge(SqliteClient.layer({ filename: ":memory:" })))
      const step = Step.transactional("step", { run: Effect.asVoid(Numbers.save(1)) })
      const workflow = Workflow.make("inside", {}, () => step)
      const error = yield* Effect.flip(Effect.provide(Workflow.execute(workflow, { id: "1" }), layer))
      assert.strictEqual(error._tag === "StorageError" ? error.reason : error._tag, "Client")
    })
  )

  it.scoped("are listed without the global State cells", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
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
