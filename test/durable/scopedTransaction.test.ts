import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { State, Transaction, Workflow } from "effect-recovery"
import { Scorecard, Testing } from "effect-recovery/testing"
import { Bad, memoryProcess, undoable } from "../support/durable.js"

const within = <A, E, R>(transaction: Transaction.TransactionService, self: Effect.Effect<A, E, R>) =>
  Effect.provideService(self, Transaction.Transaction, transaction)

describe("A scoped transaction of a run", () => {
  it.live("may be open beside another one of its name; both are rolled back after a crash at any write", () =>
    Effect.gen(function* () {
      const workflow = Workflow.make("two", { error: Bad }, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const first = yield* Transaction.scoped({ name: "trip" })
            const second = yield* Transaction.scoped({ name: "trip" })
            yield* within(second, undoable("b"))
            yield* within(first, undoable("a"))
            yield* new Bad()
          })
        )
      )
      const card = yield* Testing.crashEverywhere(workflow, { input: undefined })
      assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
    })
  )

  it.live("nests with run in both directions", () =>
    Effect.gen(function* () {
      const inScope = Effect.zipRight(undoable("a"), Transaction.run(undoable("b"), { name: "inner" })).pipe(
        Workflow.section("part", 1),
        Effect.provide(Transaction.layer({ name: "outer" }))
      )
      const workflow = Workflow.make("nests", { error: Bad }, () =>
        Transaction.run(Effect.zipRight(inScope, new Bad()))
      )
      const card = yield* Testing.crashEverywhere(workflow, { input: undefined })
      assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
    })
  )

  it.scoped("has its own section, also inside of sections", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
      const workflow = Workflow.make("keys", {}, () =>
        undoable("a").pipe(Workflow.section("part", 1), Effect.provide(Transaction.layer({ name: "trip" })))
      )
      yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
      const { steps } = yield* Effect.provide(Workflow.status("1"), context)
      assert.deepStrictEqual(
        steps.map(({ key }) => key),
        ["trip/part[1]/a"]
      )
    })
  )

  it.scoped("reverts State that was written in it", () =>
    Effect.gen(function* () {
      const { context } = yield* memoryProcess()
      const Count = State.make("count", Schema.Number, 0)
      const workflow = Workflow.make("state", { success: Schema.Number }, () =>
        Count.set(1).pipe(
          Effect.zipRight(Effect.zipRight(Count.set(2), new Bad()).pipe(Effect.provide(Transaction.layer()))),
          Effect.ignore,
          Effect.zipRight(Count.get)
        )
      )
      assert.strictEqual(yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context), 1)
    })
  )

  it.scoped("ends with the body if its scope stays open", () =>
    Effect.gen(function* () {
      const { context, story } = yield* memoryProcess()
      const scope = yield* Scope.make()
      const workflow = (name: string, end: Effect.Effect<void, Bad>) =>
        Workflow.make(name, { error: Bad }, () =>
          Effect.flatMap(Transaction.scoped(), (transaction) =>
            Effect.zipRight(within(transaction, undoable(name)), end)
          )
        )
      const run = (name: string, end: Effect.Effect<void, Bad>) =>
        Effect.exit(Workflow.execute(workflow(name, end), { id: name })).pipe(
          Effect.provide(context),
          Effect.provideService(Scope.Scope, scope)
        )
      assert.deepStrictEqual(yield* run("kept", Effect.void), Exit.void)
      assert.deepStrictEqual(yield* run("failed", new Bad()), Exit.fail(new Bad()))
      assert.strictEqual(yield* story, "kept failed undo failed")
      yield* Scope.close(scope, Exit.die("too late"))
      assert.strictEqual(yield* story, "kept failed undo failed")
    })
  )
})
