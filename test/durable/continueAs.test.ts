import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Signal, State, Step, type Storage, Transaction, Workflow } from "effect-recovery"
import { Ledger, Scorecard, Testing } from "effect-recovery/testing"
import { causeOf } from "../support/assertions.js"
import { builtProcess, linesOf } from "../support/durable.js"
import { inEveryStorage } from "../support/everyStorage.js"
import { backends } from "../support/storages.js"

const rounds = (last: number) => {
  const work = Step.make("work", {
    success: Schema.Number,
    run: (n: number) => Effect.as(Ledger.done(`round ${n}`), n)
  })
  return Workflow.make("rounds", { input: Schema.Number, success: Schema.Number }, (n, continueAs) =>
    Effect.flatMap(work(n), (done) => (done < last ? continueAs(done + 1) : Effect.succeed(done)))
  )
}

for (const backend of backends)
  describe(`${backend.name}: continueAs`, () => {
    it.scoped("begins the next generation under the same id; execute and join answer with the last one", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const workflow = rounds(3)
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* Workflow.execute(workflow, { id: "1", input: 1 }), 3)
          assert.strictEqual(yield* Workflow.execute(workflow, { id: "1", input: 1 }), 3)
          assert.strictEqual(yield* Workflow.join(workflow, "1"), 3)
          yield* Workflow.start(workflow, { id: "1", input: 1 })
          const history = yield* Workflow.history("1")
          assert.deepStrictEqual([history.run.input, history.run.generation], ["3", 3])
          assert.deepStrictEqual(yield* Testing.replay(workflow, history), { answered: 1, end: "completed" })
          assert.strictEqual((yield* Workflow.status("1")).steps.length, 1)
          assert.strictEqual(yield* story, "round 1 round 2 round 3")
        }).pipe(Effect.provide(layer))
      })
    )

    const generations = backend.name === "memory" ? 1_000 : 100

    it.scoped(`a loop of ${generations} generations keeps no more than one round`, () =>
      Effect.gen(function* () {
        let longest = 0
        const watched = (store: Storage.Store): Storage.Store => ({
          ...store,
          append: (lease, entries) =>
            Effect.zipRight(
              store.append(lease, entries),
              Effect.map(store.journal(lease.key), ({ length }) => {
                longest = Math.max(longest, length)
              })
            )
        })
        const { layer } = yield* builtProcess(backend, watched)
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* Workflow.execute(rounds(generations), { id: "1", input: 1 }), generations)
          assert.strictEqual((yield* Workflow.history("1")).run.generation, generations)
        }).pipe(Effect.provide(layer))
        assert.isAtMost(longest, 3)
      })
    )

    it.scoped("dies beside other work of the body, and the run stays open", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const inside = {
          transaction: (next: Effect.Effect<never, never, Workflow.Run>) => Transaction.run(next),
          fiber: (next: Effect.Effect<never, never, Workflow.Run>) =>
            Effect.all([next, Workflow.sleep("1 day")], { concurrency: 2 }),
          finalizer: (next: Effect.Effect<never, never, Workflow.Run>) => Effect.ensuring(Effect.void, next)
        }
        for (const [id, place] of Object.entries(inside)) {
          const workflow = Workflow.make(id, { input: Schema.Number }, (_, continueAs) =>
            Effect.asVoid(place(continueAs(2)))
          )
          yield* Effect.gen(function* () {
            const exit = yield* Effect.exit(Workflow.execute(workflow, { id, input: 1 }))
            assert.include(causeOf(exit), "cannot continue as another generation", id)
            assert.strictEqual((yield* Workflow.status(id)).status, "stopped")
          }).pipe(Effect.provide(layer))
        }
      })
    )

    it.scoped("a run whose present generation waits is resumed and cancelled there", () =>
      Effect.gen(function* () {
        const ledger = yield* Ledger.make
        const { layer } = yield* builtProcess(backend)
        const Go = Signal.make("go", Schema.Void)
        const undoable = Step.make("book", {
          run: (n: number) => Ledger.done(`${n}`),
          compensate: ({ input }) => Ledger.undone(`${input}`)
        })
        const workflow = Workflow.make("w", { input: Schema.Number }, (n, continueAs) =>
          n === 1 ? continueAs(2) : Effect.asVoid(Transaction.run(Effect.zipRight(undoable(n), Go.wait())))
        )
        yield* Effect.gen(function* () {
          const suspended = yield* Effect.flip(Workflow.execute(workflow, { id: "1", input: 1 }))
          assert.strictEqual(suspended._tag, "RunSuspended")
          yield* TestClock.adjust("1 minute")
          yield* Workflow.cancel("1", { reason: "over" })
          assert.strictEqual(
            (yield* Effect.flip(Workflow.execute(workflow, { id: "1", input: 1 })))._tag,
            "RunCancelled"
          )
          assert.deepStrictEqual(yield* linesOf(ledger), ["2", "undo 2"])
        }).pipe(Effect.provide(Layer.merge(layer, Layer.succeed(Ledger.Ledger, ledger))))
      })
    )
  })

inEveryStorage("continueAs", (backend) => {
  it.scoped("unread signals go over, read ones and State do not, and idempotency keys differ", () =>
    Effect.gen(function* () {
      const { layer, place } = yield* builtProcess(backend)
      const Next = Signal.make("next", Schema.Number)
      const Later = Signal.make("later", Schema.Number)
      const Total = State.make("total", Schema.Number, 0)
      const keys: Array<string> = []
      const work = Step.make("work", {
        run: (_: number, { idempotencyKey }: Step.Attempt) => Effect.sync(() => void keys.push(idempotencyKey))
      })
      const workflow = Workflow.make(
        "sum",
        { input: Schema.Number, success: Schema.Array(Schema.Number) },
        (n, continueAs) =>
          Effect.gen(function* () {
            yield* work(n)
            const read = n === 1 ? yield* Next.wait() : yield* Later.wait()
            const before = yield* Total.get
            yield* Total.set(before + read)
            return n === 1 ? yield* continueAs(2) : [before, read]
          })
      )
      yield* Effect.gen(function* () {
        yield* Effect.flip(Workflow.execute(workflow, { id: "1", input: 1 }))
        const other = yield* Layer.build(place.join())
        yield* Effect.provide(Later.send("1", 7), other)
        yield* Next.send("1", 5)
        assert.deepStrictEqual(yield* Workflow.execute(workflow, { id: "1", input: 1 }), [0, 7])
        assert.deepStrictEqual(keys, ["sum/1/work", "sum/1[2]/work"])
      }).pipe(Effect.provide(layer))
    })
  )
})

for (const backend of backends)
  describe(`${backend.name}: a loop that waits for a signal with a time limit`, () => {
    it.scoped("keeps a signal that comes between the end of the time and the next round", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const Go = Signal.make("go", Schema.Number)
        const late = Step.make("late", { run: Effect.orDie(Go.send("1", 7)) })
        const workflow = Workflow.make("loop", { input: Schema.Number, success: Schema.Number }, (n, continueAs) =>
          Effect.catchTag(Go.wait({ within: "1 minute" }), "SignalTimeout", () =>
            n === 1 ? Effect.zipRight(late, continueAs(2)) : Effect.succeed(0)
          )
        )
        yield* Effect.gen(function* () {
          assert.instanceOf(
            yield* Effect.flip(Workflow.execute(workflow, { id: "1", input: 1 })),
            Workflow.RunSuspended
          )
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(yield* Workflow.execute(workflow, { id: "1", input: 1 }), 7)
        }).pipe(Effect.provide(layer))
      })
    )
  })

describe("continueAs", () => {
  it.live("is carried out once, wherever the process ends", () =>
    Effect.gen(function* () {
      const card = yield* Testing.crashEverywhere(rounds(3), { input: 1 })
      assert.deepStrictEqual([card.lost, card.outcomes], [[], []], Scorecard.format(card))
      // The attempt that was cut short is on record in a journal that is gone.
      assert.strictEqual(card.duplicated.length, 2, Scorecard.format(card))
    })
  )
})
