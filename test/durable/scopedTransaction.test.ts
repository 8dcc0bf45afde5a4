import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { State, Step, Strategy, Transaction, Workflow } from "effect-recovery"
import { Ledger, Scorecard, Testing } from "effect-recovery/testing"
import { Bad, b, failsOnce, Go, memoryProcess, undoable } from "../support/durable.js"
import { forms } from "../support/transactionForms.js"

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

/** Work without steps: the journal has no result of it. */
const withoutSteps = (name: string) => Transaction.withCompensation(Ledger.done(name), () => Ledger.undone(name))

for (const { name, transact } of forms.filter(({ name }) => name !== "layer"))
  describe(`A failure of Transaction.${name} that the program handles`, () => {
    it.scoped("recurs when the run resumes, and nothing is repeated for it", () =>
      Effect.gen(function* () {
        const { context, story } = yield* memoryProcess()
        const workflow = Workflow.make("handled", { error: Bad }, () =>
          Effect.ignore(transact(Effect.zipRight(withoutSteps("a"), new Bad()))).pipe(
            Effect.zipRight(Go.wait()),
            Effect.zipRight(b),
            Effect.asVoid
          )
        )
        const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
        yield* Effect.flip(run)
        yield* Effect.provide(Go.send("1", 1), context)
        yield* run
        assert.strictEqual(yield* story, "a undo a b")
        const history = yield* Effect.provide(Workflow.history("1"), context)
        const replayed = yield* Effect.provide(Testing.replay(workflow, history), context)
        assert.strictEqual(replayed.end, "completed")
      })
    )

    const dies = Step.make("dies", { run: Effect.die("bug") })
    for (const [what, body] of [
      ["work without a result", Effect.zipRight(withoutSteps("a"), new Bad())],
      ["a step that died", Effect.zipRight(undoable("a"), dies)]
    ] as const)
      it.scopedLive(`lets a rewind continue to what comes after it, beyond ${what}`, () =>
        Effect.gen(function* () {
          const { context, story } = yield* memoryProcess()
          const check = failsOnce("check", Strategy.restart())
          const workflow = Workflow.make("beyond", { error: Bad }, () =>
            Effect.exit(transact(body)).pipe(
              Effect.zipRight(undoable("b")),
              Effect.zipRight(Effect.orDie(check)),
              (self) => transact(self, { name: "around" }),
              Effect.orDie
            )
          )
          yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
          assert.strictEqual(yield* story, "a undo a b undo b a undo a b")
        })
      )

    const refund = Step.make("refund", { run: Effect.void, compensate: () => Effect.fail(new Bad()) })
    for (const [what, body] of [
      ["a recorded step", Effect.zipRight(undoable("a"), new Bad())],
      ["a defect after a recorded step", Effect.zipRight(undoable("a"), Effect.die("bug"))],
      ["a step that died", Effect.zipRight(undoable("a"), dies)],
      ["a compensation that failed", Effect.zipRight(refund, new Bad())]
    ] as const)
      it.scopedLive(`fits its history: ${what}`, () =>
        Effect.gen(function* () {
          const { context } = yield* memoryProcess()
          const transaction = transact(body)
          const ends = { handled: Effect.zipRight(Effect.exit(transaction), Effect.asVoid(b)), failed: transaction }
          for (const [id, end] of Object.entries(ends)) {
            const workflow = Workflow.make(id, { error: Bad }, () => end)
            yield* Effect.provide(Effect.exit(Workflow.execute(workflow, { id })), context)
            const history = yield* Effect.provide(Workflow.history(id), context)
            const replayed = yield* Effect.provide(Testing.replay(workflow, history), context)
            assert.strictEqual(replayed.end, history.run.outcome?.status ?? "open")
          }
        })
      )

    it.live("restarts after a defect without a mismatch with what comes after it", () =>
      Effect.gen(function* () {
        const workflow = Workflow.make("restarts", {}, () =>
          Effect.asVoid(Effect.zipRight(Effect.exit(transact(Effect.zipRight(undoable("a"), dies))), b))
        )
        const card = yield* Testing.crashEverywhere(workflow, { input: undefined })
        assert.deepStrictEqual([card.outcomes, card.lost, card.undosMissed], [[], [], []], Scorecard.format(card))
      })
    )

    it.scopedLive("is no obstacle to a rewind after the transaction was mended and restarted", () =>
      Effect.gen(function* () {
        const { context, story } = yield* memoryProcess()
        let bug = true
        const mended = Step.make("mended", { run: Effect.suspend(() => (bug ? Effect.die("bug") : Effect.void)) })
        const check = failsOnce("check", Strategy.restart())
        const workflow = Workflow.make("mended", { error: Bad }, () =>
          Effect.exit(transact(Effect.zipRight(undoable("a"), mended))).pipe(
            Effect.zipRight(undoable("b")),
            Effect.zipRight(Go.wait()),
            Effect.zipRight(Effect.orDie(check)),
            (self) => transact(self, { name: "around" }),
            Effect.orDie
          )
        )
        const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
        yield* Effect.flip(run)
        bug = false
        yield* Effect.provide(Go.send("1", 1), context)
        yield* run
        assert.strictEqual(yield* story, "a undo a b a undo a undo b a b")
      })
    )
  })
