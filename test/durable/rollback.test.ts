import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Recovery, RetryPolicy, Step, Strategy, Transaction, Workflow } from "effect-recovery"
import { Ledger, Scorecard, Testing } from "effect-recovery/testing"
import { isSoak } from "../support/campaigns.js"
import { Bad, failsOnce, linesOf, memoryProcess, undoable, undoableAfter } from "../support/durable.js"
import { backends, memory } from "../support/storages.js"
import { type Form, forms, rollbackFailureOf } from "../support/transactionForms.js"

class NoStock extends Schema.TaggedError<NoStock>()("NoStock", {}) {}

/** A step that notes its effect and its compensation in the ledger. */
const noted = (name: string) =>
  Step.make(name, {
    success: Schema.String,
    run: Effect.as(Ledger.done(name), `${name} output`),
    compensate: ({ output }) => Ledger.undone(`${name}${Option.isSome(output) ? "" : " half"}`)
  })

const failing = Step.make("failing", {
  error: NoStock,
  run: Effect.zipRight(Ledger.done("failing"), Effect.fail(new NoStock()))
})

const sagaOf = ({ transact }: Form) =>
  Workflow.make("saga", { error: NoStock }, () =>
    Effect.forEach(["one", "two", "three", "four", "five"], (name) => noted(name), { discard: true }).pipe(
      Effect.zipRight(failing),
      (self) => transact(self)
    )
  )

const quick = RetryPolicy.layer(RetryPolicy.none)

for (const form of forms) {
  // A layer is the scoped form under another name, so one storage is enough for it.
  for (const backend of form.name === "layer" ? backends.slice(0, 1) : backends) {
    const { transact } = form
    const saga = sagaOf(form)
    const store = Effect.map(backend.make, (place) => place.store)

    describe(`${backend.name}: transactions of a run, ${form.name}`, () => {
      it.scoped("a failure compensates in reverse and is the outcome; executing again compensates nothing", () =>
        Effect.gen(function* () {
          const place = yield* backend.make
          const ledger = yield* Ledger.make
          const layer = Layer.merge(place.join(), Layer.succeed(Ledger.Ledger, ledger))
          const run = Effect.provide(Effect.flip(Workflow.execute(saga, { id: "1" })), layer)
          assert.deepStrictEqual(yield* run, new NoStock())
          const expected = ["one", "two", "three", "four", "five", "failing"]
          const undos = ["undo five", "undo four", "undo three", "undo two", "undo one"]
          assert.deepStrictEqual(yield* linesOf(ledger), [...expected, ...undos])
          assert.deepStrictEqual(yield* run, new NoStock())
          assert.strictEqual((yield* ledger.lines).length, 11)
          const status = yield* Effect.provide(Workflow.status("1"), place.join())
          assert.deepStrictEqual(
            status.rollbacks.map(({ reason, status }) => `${reason} ${status}`),
            ["failed completed"]
          )
          assert.deepStrictEqual(
            status.steps.map(({ compensation }) => Option.getOrElse(compensation, () => "none")),
            ["completed", "completed", "completed", "completed", "completed", "none"]
          )
        })
      )

      it.live("a saga is rolled back completely if the process crashes at any write", () =>
        Effect.gen(function* () {
          const card = yield* Testing.crashEverywhere(saga, { input: undefined, store })
          assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
          // Writes: open, 6 steps, the rollback with its 5 compensations, the outcome. Each has a crash before and after.
          assert.strictEqual(card.crashes, 2 * (1 + 12 + 1 + 10 + 1 + 1))
          assert.isAbove(card.ambiguous, 0)
        })
      )

      // It has hundreds of crashes: each form in memory, and one on a file, which gets the same lines from both. The soak has all.
      if (backend === memory || form.name === "run" || isSoak) {
        it.live("nested, handled, retried and concurrent transactions are too", () =>
          Effect.gen(function* () {
            const inner = noted("inner").pipe(Effect.zipRight(failing), (self) => transact(self, { name: "inner" }))
            const body = Effect.gen(function* () {
              yield* noted("first")
              yield* Effect.catchTag(inner, "NoStock", () => noted("instead"))
              yield* Effect.all(
                [1, 2].map((i) =>
                  Effect.zipRight(noted(`a${i}`), noted(`b${i}`)).pipe((self) => transact(self, { name: `side${i}` }))
                ),
                { concurrency: 2 }
              )
              yield* failing
            })
            const workflow = Workflow.make("nested", { error: NoStock, success: Schema.String }, () =>
              body.pipe(
                (self) => transact(self),
                Recovery.recover({ NoStock: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: "5 seconds" })) }),
                Effect.as("never"),
                Effect.catchTag("RecoveryExhausted", () => Effect.succeed("given up"))
              )
            )
            const card = yield* Testing.crashEverywhere(workflow, { input: undefined, store })
            assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
          })
        )
      }

      it.scoped("a rollback compensates the steps after a pivot and stops there", () =>
        Effect.gen(function* () {
          const place = yield* backend.make
          const ledger = yield* Ledger.make
          const pivot = Step.make("ship", { run: Ledger.done("ship"), pivot: true })
          const body = noted("before").pipe(
            Effect.zipRight(pivot),
            Effect.zipRight(noted("after")),
            Effect.zipRight(failing)
          )
          const workflow = Workflow.make("pivot", { error: NoStock }, () => transact(body, { name: "order" }))
          const layer = Layer.merge(place.join(), Layer.succeed(Ledger.Ledger, ledger))
          const run = Effect.provide(Effect.exit(Workflow.execute(workflow, { id: "1" })), layer)
          for (const error of [rollbackFailureOf(yield* run), rollbackFailureOf(yield* run)]) {
            assert.deepStrictEqual(error.error, new NoStock())
            assert.deepStrictEqual(error.remaining, ["order/before"])
            assert.strictEqual(error.pivot, "order/ship")
            assert.deepStrictEqual(error.failures, [])
          }
          assert.deepStrictEqual(yield* linesOf(ledger), ["before", "ship", "after", "failing", "undo after"])
        })
      )

      it.scoped("a failed pivot does not stop a rollback", () =>
        Effect.gen(function* () {
          const place = yield* backend.make
          const ledger = yield* Ledger.make
          const pivot = Step.make("ship", { error: NoStock, run: Effect.fail(new NoStock()), pivot: true })
          const workflow = Workflow.make("pivot", { error: NoStock }, () =>
            transact(Effect.zipRight(noted("before"), pivot))
          )
          const layer = Layer.merge(place.join(), Layer.succeed(Ledger.Ledger, ledger))
          const error = yield* Effect.provide(Effect.flip(Workflow.execute(workflow, { id: "1" })), layer)
          assert.deepStrictEqual(error, new NoStock())
          assert.deepStrictEqual(yield* linesOf(ledger), ["before", "undo before"])
        })
      )

      it.scoped("a failed compensation is part of the outcome and is replayed exactly", () =>
        Effect.gen(function* () {
          const place = yield* backend.make
          const bad = Step.make("bad", { run: Effect.void, compensate: () => Effect.fail(new Error("no refund")) })
          const workflow = Workflow.make("bad", { error: NoStock }, () =>
            transact(Effect.zipRight(bad, Effect.fail(new NoStock())))
          )
          const layer = Layer.merge(place.join(), quick)
          const run = Effect.provide(Effect.exit(Workflow.execute(workflow, { id: "1" })), layer)
          for (const error of [rollbackFailureOf(yield* run), rollbackFailureOf(yield* run)]) {
            assert.deepStrictEqual(error.error, new NoStock())
            assert.strictEqual(error.failures[0]?.undo, "transaction/bad")
            const squashed = Cause.squash(error.failures[0]?.cause ?? Cause.empty)
            assert.strictEqual(squashed instanceof Error ? squashed.message : "", "no refund")
          }
        })
      )

      it.scoped("an interrupted run rolls back, and the next execution repeats the transaction", () =>
        Effect.gen(function* () {
          const place = yield* backend.make
          const ledger = yield* Ledger.make
          let hang = true
          let isHanging = false
          const slow = Step.make("slow", {
            run: Effect.suspend(() => {
              isHanging = hang
              return hang ? Effect.never : Ledger.done("slow")
            }),
            compensate: () => Ledger.undone("slow")
          })
          const keys: Array<string> = []
          const keyed = Step.make("keyed", {
            run: (_: number, { idempotencyKey }) => Effect.sync(() => void keys.push(idempotencyKey)),
            compensate: ({ idempotencyKey }) => Effect.sync(() => void keys.push(`undo ${idempotencyKey}`))
          })
          const workflow = Workflow.make("interrupted", {}, () =>
            noted("one").pipe(Effect.zipRight(keyed(0)), Effect.zipRight(slow), (self) => transact(self))
          )
          const layer = Layer.merge(place.join(), Layer.succeed(Ledger.Ledger, ledger))
          const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), layer)
          const fiber = yield* Effect.fork(run)
          while (!isHanging) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
          assert.deepStrictEqual(yield* linesOf(ledger), ["one", "undo slow", "undo one"])
          hang = false
          yield* run
          assert.deepStrictEqual(yield* linesOf(ledger), ["one", "undo slow", "undo one", "one", "slow"])
          const [first, undo, second] = keys
          assert.strictEqual(undo, `undo ${first}`)
          assert.notStrictEqual(second, first)
        })
      )

      it.scoped("a defect rolls back, and the next execution repeats the transaction", () =>
        Effect.gen(function* () {
          const place = yield* backend.make
          const ledger = yield* Ledger.make
          let bug = true
          const workflow = Workflow.make("bug", { success: Schema.String }, () =>
            noted("one").pipe(
              Effect.zipRight(Effect.suspend(() => (bug ? Effect.die("bug") : Effect.succeed("fine")))),
              (self) => transact(self)
            )
          )
          const layer = Layer.merge(place.join(), Layer.succeed(Ledger.Ledger, ledger))
          const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), layer)
          assert.deepStrictEqual(yield* Effect.exit(run), Exit.die("bug"))
          bug = false
          assert.strictEqual(yield* run, "fine")
          assert.deepStrictEqual(yield* linesOf(ledger), ["one", "undo one", "one"])
        })
      )

      it.live("compensations without a step are journaled", () =>
        Effect.gen(function* () {
          const wrapped = Transaction.withCompensation(noted("inside"), () => Ledger.undone("outside"), {
            name: "wrap"
          })
          const workflow = Workflow.make("wrapped", { error: NoStock }, () =>
            transact(Effect.zipRight(wrapped, failing))
          )
          const card = yield* Testing.crashEverywhere(workflow, { input: undefined, store })
          assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
        })
      )
    })
  }
}

for (const { name, transact } of forms.filter(({ name }) => name !== "layer"))
  describe(`rollbacks of Transaction.${name}`, () => {
    it.live("of an interrupted transaction complete after a crash at any write", () =>
      Effect.gen(function* () {
        const race = Effect.race(transact(Effect.zipRight(undoable("a"), Effect.never)), undoableAfter("quick", 100))
        const workflow = Workflow.make("race", {}, () => transact(race, { name: "around" }))
        const card = yield* Testing.crashEverywhere(workflow, { input: undefined })
        assert.deepStrictEqual(
          [card.undosMissed, card.undosDoubled, card.outcomes],
          [[], [], []],
          Scorecard.format(card)
        )
      })
    )

    it.live("of concurrent siblings undo each completed step when one sibling fails", () =>
      Effect.gen(function* () {
        const fails = Step.make("fails", { error: Bad, run: Effect.zipRight(Effect.sleep(100), new Bad()) })
        const workflow = Workflow.make("siblings", { error: Bad }, () =>
          Effect.asVoid(
            Effect.all([transact(Effect.zipRight(undoable("a"), undoableAfter("b", 1_000))), fails], {
              concurrency: 2
            })
          )
        )
        const card = yield* Testing.crashEverywhere(workflow, { input: undefined })
        assert.deepStrictEqual([card.undosMissed, card.undosDoubled], [[], []], Scorecard.format(card))
      })
    )

    it.scoped("of a disconnected fiber end before the run ends", () =>
      Effect.gen(function* () {
        const { context, story } = yield* memoryProcess()
        const undoSlowly = (name: string) =>
          Step.make(name, {
            run: Ledger.done(name),
            compensate: () => Effect.zipRight(Effect.sleep("1 second"), Ledger.undone(name))
          })
        const tried = transact(Effect.all([undoSlowly("a"), undoSlowly("b"), Effect.never], { discard: true })).pipe(
          Effect.disconnect,
          Effect.timeoutOption("100 millis")
        )
        const workflow = Workflow.make("disconnected", {}, () => Effect.asVoid(tried))
        const fiber = yield* Effect.fork(Effect.provide(Workflow.execute(workflow, { id: "1" }), context))
        for (let i = 0; i < 10; i++) {
          yield* Effect.repeatN(Effect.yieldNow(), 200)
          yield* TestClock.adjust("500 millis")
        }
        yield* Fiber.join(fiber)
        assert.strictEqual(yield* story, "a b undo b undo a")
      })
    )

    it.scoped("after a defect are repeated by each execution until the step works", () =>
      Effect.gen(function* () {
        const { context, story } = yield* memoryProcess()
        let bug = true
        const dies = Step.make("dies", { run: Effect.suspend(() => (bug ? Effect.die("bug") : Effect.void)) })
        const workflow = Workflow.make("dies", {}, () => transact(Effect.zipRight(undoable("a"), dies)))
        const run = Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
        yield* Effect.exit(run)
        yield* Effect.exit(run)
        bug = false
        yield* run
        assert.match(yield* story, /^(a undo a )+a$/)
      })
    )

    it.scoped("and their replacement step are both undone by a later rewind", () =>
      Effect.gen(function* () {
        const { context, story } = yield* memoryProcess()
        const inner = transact(Effect.zipRight(undoable("a"), new Bad()), { name: "inner" })
        const check = failsOnce("check", Strategy.restart())
        const workflow = Workflow.make("answered", { error: Bad }, () =>
          transact(
            Effect.zipRight(
              Effect.catchTag(inner, "Bad", () => undoable("instead")),
              check
            )
          )
        )
        yield* Effect.provide(Workflow.execute(workflow, { id: "1" }), context)
        assert.strictEqual(yield* story, "a undo a instead undo instead a undo a instead")
      })
    )

    it.live("after a crash undo the losers of a race too", () =>
      Effect.gen(function* () {
        const hedge = Effect.race(undoableAfter("first", 150), Effect.delay(undoableAfter("second", 1_000), 100))
        const workflow = Workflow.make("hedge", { error: Bad }, () => transact(Effect.zipRight(hedge, new Bad())))
        const card = yield* Testing.crashEverywhere(workflow, { input: undefined })
        assert.deepStrictEqual([card.undosMissed, card.outcomes], [[], []], Scorecard.format(card))
      })
    )
  })
