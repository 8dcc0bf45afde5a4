import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Events, RetryPolicy, Step, Storage, Strategy, Transaction, Worker, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { crashing, makeCrasher } from "../../src/testing/internal/crashing.js"
import { awaitExit, underVirtualClock, type VirtualClock } from "../../src/testing/internal/testClock.js"
import { a, Bad, b, builtProcess, Go, linesOf, undoable } from "../support/durable.js"
import { inEveryStorage } from "../support/everyStorage.js"
import { backends } from "../support/storages.js"
import { type Form, forms } from "../support/transactionForms.js"

const because = { reason: "no longer needed", by: "ada" }

const flow = (
  body: Effect.Effect<unknown, Workflow.Failure<never> | Workflow.Machinery, Workflow.Run | Ledger.Ledger>
) => Workflow.make("flow", {}, () => Effect.asVoid(body))

const refusalOf = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(self), (error) => (error instanceof Workflow.RunEnded ? error.status : String(error)))

const outcomeOf = (id: string) =>
  Effect.map(Workflow.status(id), ({ status, rollbacks }) => [
    status,
    ...rollbacks.map(({ reason, status }) => `${reason} ${status}`)
  ])

/** Executes the run, which must end as cancelled. */
const cancelledRun = <E>(workflow: Workflow.Workflow<void, void, E, Ledger.Ledger>, id = "1") =>
  Effect.map(Effect.flip(Workflow.execute(workflow, { id })), (error) => {
    assert.strictEqual((error as { readonly _tag: string })._tag, "RunCancelled", String(error))
    return error as Workflow.RunCancelled
  })

for (const backend of backends)
  describe(`${backend.name}: Workflow.cancel`, () => {
    it.scoped("rolls back the open transactions of a run that waits, and nothing else begins", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const inner = Transaction.run(Effect.zipRight(undoable("inner"), Go.wait()), { name: "inner" })
        const body = Effect.gen(function* () {
          yield* Transaction.run(undoable("committed"), { name: "before" })
          yield* Transaction.run(undoable("outer").pipe(Effect.zipRight(inner), Effect.zipRight(b))).pipe(
            Effect.ensuring(a)
          )
        })
        const workflow = flow(body)
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(workflow, { id: "1" }))
          assert.strictEqual(yield* Workflow.cancel("1", because), "cancelling")
          const error = yield* cancelledRun(workflow)
          assert.deepStrictEqual(
            [error.reason, error.by, error.isTerminated, error.kept],
            [because.reason, Option.some("ada"), false, []]
          )
          assert.strictEqual(yield* story, "committed outer inner undo inner undo outer")
          assert.deepStrictEqual(yield* outcomeOf("1"), ["cancelled", "cancelled completed", "cancelled completed"])
          assert.deepStrictEqual(yield* Effect.flip(Workflow.execute(workflow, { id: "1" })), error)
          assert.deepStrictEqual(yield* Effect.flip(Workflow.join(workflow, "1")), error)
          assert.strictEqual(yield* Workflow.cleanup({ olderThan: "1 second" }), 0)
          yield* TestClock.adjust("2 seconds")
          assert.strictEqual(yield* Workflow.cleanup({ olderThan: "1 second" }), 1)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("ends a run that has not begun at once, without its workflow", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const workflow = flow(a)
        yield* Effect.gen(function* () {
          yield* Workflow.start(workflow, { id: "1" })
          assert.strictEqual(yield* Workflow.cancel("1", because), "cancelled")
          yield* cancelledRun(workflow)
          assert.strictEqual(yield* story, "")
          assert.strictEqual(yield* refusalOf(Workflow.cancel("1", because)), "cancelled")
          assert.strictEqual((yield* Effect.flip(Workflow.cancel("2", because)))._tag, "RunNotFound")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("is refused once the run has ended, and the outcome stays", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const workflow = flow(a)
        yield* Effect.gen(function* () {
          yield* Workflow.execute(workflow, { id: "1" })
          assert.strictEqual(yield* refusalOf(Workflow.cancel("1", because)), "completed")
          assert.strictEqual(yield* refusalOf(Workflow.terminate("1", because)), "completed")
          yield* Workflow.execute(workflow, { id: "1" })
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("is carried out by the worker that claims the run, and the first request counts", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const workflow = flow(Transaction.run(Effect.zipRight(undoable("hotel"), Go.wait())))
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(workflow, { id: "1" }))
          yield* Workflow.cancel("1", because)
          assert.strictEqual(yield* Workflow.cancel("1", { reason: "another" }), "cancelling")
          yield* Effect.scoped(
            Effect.zipRight(
              Layer.build(Worker.layer([workflow])),
              Effect.flip(Workflow.join(workflow, "1")).pipe(
                Effect.map((error) => assert.strictEqual((error as Workflow.RunCancelled).reason, because.reason))
              )
            )
          )
          assert.strictEqual(yield* story, "hotel undo hotel")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("cancels a run that sleeps, asks, or waits for its next attempt", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const asks = { error: Bad, run: Effect.fail(new Bad()), recover: { Bad: Strategy.manual() } }
        const policy = RetryPolicy.fixed({ maxRetries: 9, delay: "1 day" })
        const question = Step.make("asks", asks)
        const backoff = Step.make("waits", { error: Bad, run: Effect.fail(new Bad()), retry: policy })
        const waits = { sleep: Workflow.sleep("1 day"), question, backoff }
        for (const [name, waiting] of Object.entries(waits)) {
          const body = Transaction.run(Effect.zipRight(undoable(name), waiting), { name: "t" })
          const workflow = Workflow.make(name, { error: Bad }, () => Effect.asVoid(body))
          yield* Effect.gen(function* () {
            yield* Workflow.start(workflow, { id: name })
            yield* Effect.scoped(
              Effect.zipRight(Layer.build(Worker.layer([workflow], { patience: 0 })), untilSuspended(name))
            )
            assert.strictEqual(yield* Workflow.cancel(name, because), "cancelling")
            yield* cancelledRun(workflow, name)
            assert.match(yield* story, new RegExp(`${name} undo ${name}$`))
          }).pipe(Effect.provide(layer))
        }
      })
    )

    it.scoped(
      "a body that catches the interruption, or cannot be interrupted, begins no step and ends as cancelled",
      () =>
        Effect.gen(function* () {
          const { layer, story } = yield* builtProcess(backend)
          const bodies = [
            Effect.catchAllCause(Go.wait(), () => a),
            Effect.uninterruptible(Effect.zipRight(Effect.exit(Go.wait()), a)),
            Effect.onInterrupt(Go.wait(), () => Effect.asVoid(a)),
            Effect.acquireUseRelease(
              b,
              () => Go.wait(),
              () => Effect.asVoid(a)
            )
          ]
          for (const [i, body] of bodies.entries()) {
            const workflow = flow(body)
            yield* Effect.gen(function* () {
              yield* Effect.flip(Workflow.execute(workflow, { id: `${i}` }))
              yield* Workflow.cancel(`${i}`, because)
              yield* cancelledRun(workflow, `${i}`)
            }).pipe(Effect.provide(layer))
          }
          assert.strictEqual(yield* story, "b")
        })
    )

    it.scoped("interrupts the run that a process has: its running steps are compensated, and execute fails", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const slow = Step.make("slow", {
          run: Effect.zipRight(Ledger.done("slow"), Effect.never),
          compensate: ({ output }) => Ledger.undone(Option.isNone(output) ? "half of slow" : "slow")
        })
        const retried = Step.make("retried", {
          error: Bad,
          run: Effect.zipRight(Ledger.done("retried"), Effect.fail(new Bad())),
          retry: RetryPolicy.fixed({ maxRetries: 9, delay: "1 hour" })
        })
        const bodies = {
          step: Transaction.run(Effect.zipRight(undoable("hotel"), slow)),
          uninterruptible: Transaction.run(Effect.zipRight(undoable("hotel"), Effect.uninterruptible(retried))),
          sleep: Transaction.run(Effect.zipRight(undoable("hotel"), Effect.sleep("1 hour"))),
          wait: Transaction.run(Effect.zipRight(undoable("hotel"), Workflow.sleep("1 hour")))
        }
        const stories: Record<string, string> = {}
        for (const [id, body] of Object.entries<Effect.Effect<unknown, unknown, unknown>>(bodies)) {
          const before = (yield* story).length
          // Each body has the errors of its own steps.
          const workflow = Workflow.make(id, { error: Bad }, () => Effect.asVoid(body as typeof bodies.uninterruptible))
          yield* Effect.gen(function* () {
            const fiber = yield* Effect.forkDaemon(cancelledRun(workflow, id))
            yield* stepsOf(id, 1)
            yield* realTurns
            assert.strictEqual(yield* Workflow.cancel(id, because), "cancelling")
            yield* Fiber.join(fiber)
          }).pipe(Effect.provide(layer))
          stories[id] = (yield* story).slice(before).trim()
        }
        assert.deepStrictEqual(stories, {
          step: "hotel slow undo half of slow undo hotel",
          uninterruptible: "hotel retried undo hotel",
          sleep: "hotel undo hotel",
          wait: "hotel undo hotel"
        })
      })
    )

    it.scoped("a body that ends in the replay keeps its own outcome", () =>
      Effect.gen(function* () {
        const { layer, place, story } = yield* builtProcess(backend)
        const workflow = flow(Transaction.run(undoable("hotel")))
        yield* Effect.gen(function* () {
          // All steps are recorded, and the outcome is not.
          const lost = { ...place.store, finish: () => Effect.never }
          const other = Layer.scoped(Storage.Storage, Storage.make(lost, { owner: "other", lease: "1 second" }))
          yield* Effect.forkDaemon(Effect.provide(Workflow.execute(workflow, { id: "1" }), other))
          yield* stepsOf("1", 1)
          yield* TestClock.adjust("10 seconds")
          yield* Workflow.cancel("1", because)
          yield* Workflow.execute(workflow, { id: "1" })
          assert.deepStrictEqual(yield* outcomeOf("1"), ["completed"])
          assert.strictEqual(yield* story, "hotel")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("a run that dies at every resume ends as cancelled", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const dies = Effect.die(new Error("a bug"))
        const workflow = flow(Effect.zipRight(Transaction.run(Effect.zipRight(undoable("hotel"), a)), dies))
        const inTransaction = flow(Transaction.run(undoable("room").pipe(Effect.zipRight(dies))))
        yield* Effect.gen(function* () {
          yield* Effect.exit(Workflow.execute(workflow, { id: "1" }))
          yield* Effect.exit(Workflow.execute(inTransaction, { id: "2" }))
          yield* Workflow.cancel("1", because)
          yield* Workflow.cancel("2", because)
          yield* cancelledRun(workflow, "1")
          yield* cancelledRun(inTransaction, "2")
          assert.strictEqual(yield* story, "hotel a room undo room")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("keeps what lies before a pivot, and says so", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const pivot = Step.make("pivot", { run: Ledger.done("pivot"), pivot: true })
        const workflow = flow(
          Transaction.run(
            undoable("before").pipe(
              Effect.zipRight(pivot),
              Effect.zipRight(undoable("after")),
              Effect.zipRight(Go.wait())
            ),
            { name: "t" }
          )
        )
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(workflow, { id: "1" }))
          yield* Workflow.cancel("1", because)
          const { kept, message } = yield* cancelledRun(workflow)
          assert.deepStrictEqual(kept, ["t/before"])
          assert.include(message, `a pivot keeps "t/before"`)
          assert.strictEqual(yield* story, "before pivot after undo after")
          assert.deepStrictEqual(yield* outcomeOf("1"), ["cancelled", "cancelled failed"])
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("a compensation that fails keeps the run open, with CancelFailed, until it succeeds", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        let isDown = true
        const step = Step.make("charge", {
          run: Ledger.done("charge"),
          compensate: () => Effect.suspend(() => (isDown ? Effect.fail(new Bad()) : Ledger.undone("charge")))
        })
        const inner = Transaction.run(Effect.zipRight(step, Go.wait()), { name: "inner" })
        const nested = Transaction.run(undoable("first").pipe(Effect.zipRight(inner)), { name: "outer" })
        const single = Transaction.run(undoable("first").pipe(Effect.zipRight(step), Effect.zipRight(Go.wait())), {
          name: "one"
        })
        for (const [id, body] of Object.entries({ nested, single })) {
          isDown = true
          const workflow = flow(body as typeof nested)
          yield* Effect.gen(function* () {
            yield* Effect.flip(Workflow.execute(workflow, { id }))
            yield* Workflow.cancel(id, because)
            for (let times = 0; times < 2; times++) {
              const failed = yield* Effect.flip(Workflow.execute(workflow, { id }))
              assert.strictEqual(failed._tag, "CancelFailed", String(failed))
              assert.include(failed.message, "Workflow.terminate")
            }
            assert.strictEqual((yield* Workflow.status(id)).status, "stopped")
            isDown = false
            yield* cancelledRun(workflow, id)
            assert.match(yield* story, /first charge undo first undo charge$/)
          }).pipe(Effect.provide(layer))
        }
      })
    )

    it.scoped("a compensation waits and tries again by its own schedule", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        let times = 0
        const step = Step.make("charge", {
          run: Ledger.done("charge"),
          compensate: {
            undo: () => Effect.suspend(() => (times++ < 2 ? Effect.fail(new Bad()) : Ledger.undone("charge"))),
            retry: RetryPolicy.fixed({ maxRetries: 3, delay: "1 hour" })
          }
        })
        const workflow = flow(Transaction.run(Effect.zipRight(step, Go.wait())))
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(workflow, { id: "1" }))
          yield* Workflow.cancel("1", because)
          const fiber = yield* Effect.fork(cancelledRun(workflow))
          for (let hours = 0; hours < 5 && times < 3; hours++) {
            yield* realTurns
            yield* TestClock.adjust("1 hour")
          }
          yield* Fiber.join(fiber)
          assert.strictEqual(yield* story, "charge undo charge")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("comes after a rewind, and after a rollback, that an earlier process has begun", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        let isDown = true
        const step = Step.make("charge", {
          run: Ledger.done("charge"),
          compensate: () => Effect.suspend(() => (isDown ? Effect.fail(new Bad()) : Ledger.undone("charge")))
        })
        const workflow = flow(
          Transaction.run(undoable("first").pipe(Effect.zipRight(step), Effect.zipRight(Go.wait())))
        )
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(workflow, { id: "1" }))
          const failed = yield* Effect.flip(Workflow.rewind(workflow, "1", Workflow.beforeStep("charge")))
          assert.strictEqual(failed._tag, "RewindFailed")
          yield* Workflow.cancel("1", because)
          assert.strictEqual((yield* Effect.flip(Workflow.execute(workflow, { id: "1" })))._tag, "RewindFailed")
          isDown = false
          yield* cancelledRun(workflow)
          assert.strictEqual(yield* story, "first charge undo charge undo first")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("can be taken back by a rewind: the run continues from the point", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const workflow = flow(Effect.zipRight(a, Transaction.run(Effect.zipRight(undoable("hotel"), Go.wait()))))
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(workflow, { id: "1" }))
          yield* Workflow.cancel("1", because)
          yield* cancelledRun(workflow)
          yield* Workflow.rewind(workflow, "1", Workflow.beforeStep("hotel"))
          assert.strictEqual((yield* Effect.flip(Workflow.execute(workflow, { id: "1" })))._tag, "RunSuspended")
          yield* Go.send("1", 1)
          yield* Workflow.execute(workflow, { id: "1" })
          assert.strictEqual(yield* story, "a hotel undo hotel hotel")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("ends a hold, and waits for that of a recovery", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const workflow = flow(Go.wait())
        yield* Effect.gen(function* () {
          const storage = yield* Storage.Storage
          for (const id of ["manual", "cut-short", "recovery/1"]) {
            yield* Effect.flip(Workflow.execute(workflow, { id }))
            yield* storage.hold(id, { id, reason: "to look at it" })
            yield* Workflow.cancel(id, because)
          }
          for (const id of ["manual", "cut-short"]) yield* cancelledRun(workflow, id)
          assert.strictEqual((yield* Effect.flip(Workflow.execute(workflow, { id: "recovery/1" })))._tag, "RunHeld")
          yield* storage.releaseHold("recovery/1", "recovery/1")
          yield* cancelledRun(workflow, "recovery/1")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("tells observers that the run was cancelled", () =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        const observed = Events.layer((event) =>
          Effect.sync(() => event._tag === "RunFinished" && seen.push(`${event.source.run} ${event.outcome}`))
        )
        const { layer } = yield* builtProcess(backend)
        const workflow = flow(Go.wait())
        yield* Effect.gen(function* () {
          for (const id of ["1", "2"]) yield* Effect.flip(Workflow.execute(workflow, { id }))
          yield* Workflow.start(workflow, { id: "3" })
          for (const id of ["1", "3"]) yield* Workflow.cancel(id, because)
          yield* Workflow.terminate("2", because)
          yield* cancelledRun(workflow, "1")
        }).pipe(Effect.provide(Layer.merge(layer, observed)))
        assert.deepStrictEqual(seen, ["3 cancelled", "2 cancelled", "1 cancelled"])
      })
    )
  })

for (const backend of backends)
  describe(`${backend.name}: Workflow.terminate`, () => {
    it.scoped("ends a run at once without compensations; the process that has it returns that outcome", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const workflow = flow(
          Transaction.run(undoable("hotel").pipe(Effect.zipRight(Workflow.sleep("1 hour")), Effect.zipRight(a)))
        )
        yield* Effect.gen(function* () {
          const fiber = yield* Effect.fork(Effect.flip(Workflow.execute(workflow, { id: "1" })))
          yield* stepsOf("1", 1)
          yield* Workflow.terminate("1", because)
          const { outcome } = yield* found("1")
          assert.strictEqual(outcome?.status, "cancelled")
          yield* realTurns
          yield* TestClock.adjust("1 hour")
          const error = yield* Fiber.join(fiber)
          assert.isTrue(error instanceof Workflow.RunCancelled && error.isTerminated, String(error))
          assert.strictEqual(yield* story, "hotel")
          assert.strictEqual((yield* Effect.flip(Workflow.terminate("1", because)))._tag, "RunEnded")
          assert.strictEqual((yield* Effect.flip(Workflow.terminate("2", because)))._tag, "RunNotFound")
        }).pipe(Effect.provide(layer))
      })
    )
  })

inEveryStorage("a run that another process has", (backend) => {
  it.scoped("is interrupted and compensated by that process when it is cancelled", () =>
    Effect.gen(function* () {
      const { layer, place, story } = yield* builtProcess(backend)
      const slow = Step.make("slow", {
        run: Effect.zipRight(Ledger.done("slow"), Effect.never),
        compensate: () => Ledger.undone("slow")
      })
      const workflow = flow(Transaction.run(Effect.zipRight(undoable("hotel"), slow)))
      const other = yield* Layer.build(place.join())
      const running = yield* Effect.fork(Effect.provide(cancelledRun(workflow), layer))
      yield* Effect.gen(function* () {
        yield* until(Effect.map(story, (lines) => lines === "hotel slow"))
        assert.strictEqual(yield* Workflow.cancel("1", because), "cancelling")
        const error = yield* Fiber.join(running)
        assert.deepStrictEqual([error.reason, error.by], [because.reason, Option.some("ada")])
        assert.strictEqual(yield* story, "hotel slow undo slow undo hotel")
        assert.deepStrictEqual(yield* Effect.flip(Workflow.join(workflow, "1")), error)
        assert.deepStrictEqual(yield* outcomeOf("1"), ["cancelled", "cancelled completed"])
      }).pipe(Effect.provide(other), Effect.provide(layer))
    })
  )

  it.scoped("is over at once when it is terminated, and that process writes nothing more", () =>
    Effect.gen(function* () {
      const { layer, place, story } = yield* builtProcess(backend)
      const gate = yield* Deferred.make<void>()
      const slow = Step.make("slow", { run: Effect.zipRight(Ledger.done("slow"), Deferred.await(gate)) })
      const workflow = flow(Transaction.run(undoable("hotel").pipe(Effect.zipRight(slow), Effect.zipRight(a))))
      const other = yield* Layer.build(place.join())
      const running = yield* Effect.fork(Effect.provide(cancelledRun(workflow), layer))
      yield* Effect.gen(function* () {
        yield* until(Effect.map(story, (lines) => lines === "hotel slow"))
        yield* Workflow.terminate("1", because)
        const before = yield* Workflow.history("1")
        yield* Deferred.succeed(gate, undefined)
        assert.isTrue((yield* Fiber.join(running)).isTerminated)
        assert.strictEqual(yield* story, "hotel slow")
        assert.deepStrictEqual(yield* Workflow.history("1"), before)
      }).pipe(Effect.provide(other))
    })
  )
})

// ---- crashes

/** Nested transactions, one that is committed, one that has failed and was handled, and two that wait side by side. */
const trip = ({ transact }: Form) => {
  const fails = Step.make("fails", { error: Bad, run: Effect.fail(new Bad()) })
  const failed = transact(Effect.zipRight(undoable("failed"), fails), { name: "failed" })
  const side = (name: string) =>
    transact(undoable(name).pipe(Effect.zipRight(Go.wait({ id: name }))), { name: `side ${name}` })
  return Workflow.make("trip", {}, () =>
    Effect.gen(function* () {
      yield* transact(undoable("committed"), { name: "committed" })
      yield* Effect.ignore(failed)
      yield* transact(
        Effect.gen(function* () {
          yield* undoable("outer")
          yield* Effect.all([side("left"), side("right")], { concurrency: 2 })
          yield* a
        }),
        { name: "outer" }
      )
    }).pipe(Effect.ensuring(b), Effect.orDie)
  )
}

const expected = [
  "committed",
  "failed",
  "undo failed",
  "outer",
  "left",
  "right",
  "undo left",
  "undo outer",
  "undo right"
]

// A layer is the scoped form under another name.
for (const form of forms.filter(({ name }) => name !== "layer")) {
  it.live(`a cancellation continues after a crash at any write, ${form.name}`, () =>
    Effect.gen(function* () {
      const workflow = trip(form)
      let crashes = 0
      for (const when of ["before", "after"] as const) {
        for (let write = 1; ; write++) {
          const isDead = yield* underVirtualClock((clock) =>
            Effect.scoped(cancelWithCrash(workflow, { when, write }, clock))
          )
          if (!isDead) break
          crashes++
        }
      }
      assert.isAbove(crashes, 20)
    })
  )
}

const cancelWithCrash = (
  workflow: Workflow.Workflow<void, void, never, Ledger.Ledger>,
  point: { readonly when: "before" | "after"; readonly write: number },
  clock: VirtualClock
) =>
  Effect.gen(function* () {
    const store = Storage.memoryStore()
    const ledger = yield* Ledger.make
    const inProcess = (owner: string, on: Storage.Store, kept: Ledger.Service = ledger) =>
      Layer.mergeAll(
        Layer.scoped(Storage.Storage, Storage.make(on, { owner, lease: "30 seconds" })),
        Layer.succeed(Ledger.Ledger, kept),
        RetryPolicy.layer(RetryPolicy.none)
      )
    const alive = inProcess("alive", store)
    yield* Effect.provide(Effect.flip(Workflow.execute(workflow, { id: "1" })), alive)
    const crasher = makeCrasher(point, Effect.never)
    const dying: Ledger.Service = { ...ledger, add: (line) => crasher.other(ledger.add(line)) }
    const whole = Effect.zipRight(Workflow.cancel("1", because), Effect.exit(Workflow.execute(workflow, { id: "1" })))
    const fiber = yield* Effect.forkDaemon(Effect.provide(whole, inProcess("dying", crashing(store, crasher), dying)))
    yield* awaitExit(fiber, crasher.isDead, clock)
    const again = Effect.gen(function* () {
      yield* Effect.ignore(Workflow.cancel("1", because))
      const error = yield* Effect.flip(Workflow.execute(workflow, { id: "1" }))
      return error
    })
    // A dead process does not renew its lease.
    yield* clock.advance(60_000)
    const resumed = yield* awaitExit(yield* Effect.fork(Effect.provide(again, alive)), () => false, clock)
    const error = yield* resumed ?? Effect.die("it does not end")
    assert.strictEqual(error._tag, "RunCancelled", `${point.when} write ${point.write}: ${error}`)
    const lines = yield* linesOf(ledger)
    // A compensation that was cut short runs again.
    assert.deepStrictEqual([...new Set(lines)].sort(), [...expected].sort(), `${point.when} write ${point.write}`)
    assert.isAtMost(lines.length, expected.length + 2)
    return crasher.isDead()
  })

// ---- waiting

const realTurns = Effect.promise(async () => {
  for (let i = 0; i < 20; i++) await new Promise<void>((resolve) => setImmediate(resolve))
})

const found = (id: string) =>
  Effect.flatMap(Storage.Storage, (storage) => Effect.map(storage.find(id), Option.getOrThrow))

const until = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.flatMap(condition, (isMet) => (isMet ? Effect.void : Effect.zipRight(realTurns, until(condition))))

const untilSuspended = (id: string) => until(Effect.map(Workflow.status(id), ({ status }) => status === "suspended"))

const stepsOf = (id: string, count: number) =>
  until(
    Effect.map(
      Effect.orElseSucceed(
        Effect.map(Workflow.status(id), ({ steps }) => steps),
        () => []
      ),
      (steps) => steps.filter(({ status }) => status === "completed").length >= count
    )
  )
