import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Answer, Parameters, Recovery, Signal, Step, Strategy, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { assertTagged } from "../support/assertions.js"
import { processOn } from "../support/durable.js"
import { backends } from "../support/storages.js"

class Declined extends Schema.TaggedError<Declined>()("Declined", { reason: Schema.String }) {}

const Card = Parameters.make("card", Schema.Struct({ number: Schema.String }), { number: "old" })
const Approval = Signal.make("approval", Schema.Struct({ by: Schema.String }))

for (const backend of backends) {
  const setup = processOn(backend)

  /** Fails until the card parameter is new. */
  const charge = Step.make("charge", {
    // No JSON Schema tells of the filter.
    success: Schema.Struct({ receipt: Schema.String.pipe(Schema.filter((receipt) => receipt !== "void")) }),
    error: Declined,
    run: Effect.gen(function* () {
      yield* Ledger.done("charge")
      const { number } = yield* Card.get
      if (number === "old") return yield* new Declined({ reason: "expired" })
      return { receipt: `paid with ${number}` }
    }),
    recover: { Declined: Strategy.manual({ question: "Charge again?", parameters: Card }) }
  })

  const Order = Workflow.make("order", { success: Schema.String, error: Declined }, () =>
    Effect.gen(function* () {
      yield* Step.make("reserve", { run: Ledger.done("reserve") })
      const { receipt } = yield* charge
      yield* Step.make("ship", { run: Ledger.done("ship") })
      return receipt
    })
  )

  const execute = Workflow.execute(Order, { id: "1" })

  describe(`${backend.name}: questions`, () => {
    it.scoped("suspend the run until an answer of each kind", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        yield* Effect.gen(function* () {
          const suspended = yield* Effect.flip(execute)
          assert.strictEqual(suspended._tag, "RunSuspended")
          if (suspended._tag !== "RunSuspended") return
          assert.deepStrictEqual(
            suspended.waits.map(({ about, id, kind, parameters }) => ({ about, id, kind, parameters })),
            [{ about: "Charge again?", id: "charge?1", kind: "question", parameters: ["card"] }]
          )
          const [listed] = yield* Workflow.list({ status: "suspended" })
          assert.deepStrictEqual(listed?.waiting, suspended.waits)
          assert.deepStrictEqual(listed?.dueAt, Option.none())
          // Without an answer the run suspends with the same question and runs no step.
          const again = yield* Effect.flip(execute)
          assert.strictEqual(again._tag === "RunSuspended" && again.waits[0]?.id, "charge?1")
          assert.deepStrictEqual(yield* lines, ["reserve", "charge"])
          // After the retry the card is still old, so the run asks again.
          yield* Workflow.resolve("1", Answer.retry)
          const second = yield* Effect.flip(execute)
          assert.strictEqual(second._tag === "RunSuspended" && second.waits[0]?.id, "charge?2")
          assert.deepStrictEqual(yield* lines, ["reserve", "charge", "charge"])
          yield* Workflow.resolve("1", Answer.retryWith(Card, { number: "new" }))
          assert.strictEqual(yield* execute, "paid with new")
          assert.deepStrictEqual(yield* lines, ["reserve", "charge", "charge", "charge", "ship"])
          const status = yield* Workflow.status("1")
          assert.deepStrictEqual(
            status.waits.map(({ id, status }) => ({ id, status })),
            [
              { id: "charge?1", status: "answered" },
              { id: "charge?2", status: "answered" }
            ]
          )
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("accept a value, an abort or a skip as answer", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        yield* Effect.gen(function* () {
          yield* Effect.flip(execute)
          yield* Workflow.resolve("1", Answer.value(charge, { receipt: "cash" }))
          assert.strictEqual(yield* execute, "cash")
          const two = Workflow.execute(Order, { id: "2" })
          yield* Effect.flip(two)
          yield* Workflow.resolve("2", Answer.abort)
          assert.deepStrictEqual(yield* Effect.exit(two), Exit.fail(new Declined({ reason: "expired" })))
          const three = Workflow.execute(Order, { id: "3" })
          yield* Effect.flip(three)
          yield* Workflow.resolve("3", Answer.skip)
          const refused = yield* Effect.flip(three)
          const [waiting] = refused._tag === "RunSuspended" ? refused.waits : []
          assert.strictEqual(waiting?.id, "charge?2")
          assert.deepStrictEqual(waiting?.refused, Option.some("the result cannot be skipped"))
          yield* Workflow.resolve("3", Answer.json({ receipt: "void" }))
          const unfit = yield* Effect.flip(three)
          assert.include(
            unfit._tag === "RunSuspended" ? Option.getOrElse(unfit.waits[0]?.refused ?? Option.none(), () => "") : "",
            "the value does not fit"
          )
          yield* Workflow.resolve("3", Answer.json({ receipt: "by hand" }))
          assert.strictEqual(yield* three, "by hand")
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual((yield* lines).filter((line) => line === "charge").length, 3)
      })
    )

    it.scoped("accept a rewind, and refuse an unknown point", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        yield* Effect.gen(function* () {
          yield* Effect.flip(execute)
          yield* Workflow.resolve("1", Answer.rewind(Workflow.beforeStep("nowhere")))
          const refused = yield* Effect.flip(execute)
          assertTagged(refused, "RunSuspended")
          assert.include(Option.getOrThrow(refused.waits[0]?.refused ?? Option.none()), "nowhere")
          yield* Workflow.resolve("1", Answer.rewind(Workflow.fromStart))
          const asked = yield* Effect.flip(execute)
          // After a rewind the question has a new id.
          assert.strictEqual(asked._tag === "RunSuspended" && asked.waits[0]?.id, "charge?1~2")
          yield* Workflow.resolve("1", Answer.value(charge, { receipt: "cash" }))
          assert.strictEqual(yield* execute, "cash")
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* lines, ["reserve", "charge", "reserve", "charge", "ship"])
      })
    )

    it.scoped("accept one answer while they are open", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          const none = yield* Effect.flip(Workflow.resolve("missing", Answer.retry))
          assert.strictEqual(none._tag, "RunNotFound")
          yield* Effect.flip(execute)
          const unknown = yield* Effect.flip(Workflow.resolve("1", Answer.retry, { question: "charge?7" }))
          assertTagged(unknown, "NotOpen", { reason: "Unknown", open: ["charge?1"] })
          yield* Workflow.resolve("1", Answer.value(charge, { receipt: "first" }))
          const twice = yield* Effect.flip(Workflow.resolve("1", Answer.abort))
          assertTagged(twice, "NotOpen", { reason: "Answered" })
          assert.strictEqual(yield* execute, "first")
          const late = yield* Effect.flip(Workflow.resolve("1", Answer.abort))
          assertTagged(late, "NotOpen", { reason: "Finished" })
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("of two branches are separate: one branch runs while the other waits", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const ask = (name: string) =>
          Step.make(name, {
            success: Schema.Number,
            error: Declined,
            run: Effect.fail(new Declined({ reason: name })),
            recover: { Declined: Strategy.escalate("ops") }
          })
        const both = Workflow.make("both", { success: Schema.Number, error: Declined }, () =>
          Effect.map(
            Effect.all([ask("a"), ask("b"), Step.make("c", { run: Ledger.done("c") })], { concurrency: 3 }),
            ([a, b]) => a + b
          )
        )
        yield* Effect.gen(function* () {
          const run = Workflow.execute(both, { id: "1" })
          const suspended = yield* Effect.flip(run)
          assert.deepStrictEqual(
            suspended._tag === "RunSuspended" && suspended.waits.map(({ id, to }) => [id, Option.getOrNull(to)]).sort(),
            [
              ["a?1", "ops"],
              ["b?1", "ops"]
            ]
          )
          const several = yield* Effect.flip(Workflow.resolve("1", Answer.retry))
          assertTagged(several, "NotOpen", { reason: "Several" })
          yield* Workflow.resolve("1", Answer.json(1), { question: "b?1" })
          const one = yield* Effect.flip(run)
          assert.deepStrictEqual(one._tag === "RunSuspended" && one.waits.map(({ id }) => id), ["a?1"])
          yield* Workflow.resolve("1", Answer.json(2))
          assert.strictEqual(yield* run, 3)
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* lines, ["c"])
      })
    )

    it.scoped("can be asked in the workflow body", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const failing = Step.make("failing", { error: Declined, run: Effect.fail(new Declined({ reason: "no" })) })
        const flow = Workflow.make("flow", { success: Schema.String, error: Declined }, () =>
          failing.pipe(
            Effect.as("done"),
            Recovery.recover({ Declined: Strategy.manual({ answer: Schema.String, question: "What now?" }) })
          )
        )
        yield* Effect.gen(function* () {
          const run = Workflow.execute(flow, { id: "1" })
          const suspended = yield* Effect.flip(run)
          assert.strictEqual(suspended._tag === "RunSuspended" && suspended.waits[0]?.id, "manual?")
          yield* Workflow.resolve("1", Answer.retry)
          yield* Effect.flip(run)
          yield* Workflow.resolve("1", Answer.json("by hand"))
          assert.strictEqual(yield* run, "by hand")
        }).pipe(Effect.provide(layer))
      })
    )
  })

  describe(`${backend.name}: signals`, () => {
    const Publish = Workflow.make("publish", { success: Schema.String }, () =>
      Effect.gen(function* () {
        yield* Step.make("draft", { run: Ledger.done("draft") })
        const { by } = yield* Approval.wait()
        yield* Step.make("publish", { run: Ledger.done("publish") })
        return by
      })
    )

    it.scoped("are awaited without a process; the first signal wins", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        yield* Effect.gen(function* () {
          const run = Workflow.execute(Publish, { id: "1" })
          const unknown = yield* Effect.flip(Approval.send("1", { by: "early" }))
          assert.strictEqual(unknown._tag, "RunNotFound")
          const suspended = yield* Effect.flip(run)
          assert.strictEqual(suspended._tag, "RunSuspended")
          yield* Approval.send("1", { by: "ada" })
          const twice = yield* Effect.flip(Approval.send("1", { by: "bob" }))
          assertTagged(twice, "NotOpen", { reason: "Answered" })
          assert.strictEqual(yield* run, "ada")
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* lines, ["draft", "publish"])
      })
    )

    it.scoped("are stored if sent before the wait", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          yield* Workflow.start(Publish, { id: "1" })
          yield* Approval.send("1", { by: "early" })
          assert.strictEqual(yield* Workflow.execute(Publish, { id: "1" }), "early")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("reach a run that is executing", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const flow = Workflow.make("flow", { success: Schema.String }, () =>
          Effect.map(
            Effect.all([Approval.wait(), Step.make("long", { run: Effect.sleep("1 hour") })], { concurrency: 2 }),
            ([{ by }]) => by
          )
        )
        yield* Effect.gen(function* () {
          const fiber = yield* Effect.fork(Workflow.execute(flow, { id: "1" }))
          yield* TestClock.adjust("1 minute")
          yield* Approval.send("1", { by: "ada" })
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(yield* Fiber.join(fiber), "ada")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("stored before the deadline win, even if they are read later", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const flow = Workflow.make("flow", { success: Schema.String }, () =>
          Approval.wait({ within: "2 hours" }).pipe(
            Effect.map(({ by }) => by),
            Effect.catchTag("SignalTimeout", () => Effect.succeed("too late"))
          )
        )
        yield* Effect.gen(function* () {
          const late = Workflow.execute(flow, { id: "late" })
          const suspended = yield* Effect.flip(late)
          assertTagged(suspended, "RunSuspended", { until: Option.some(new Date(7_200_000)) })
          yield* Effect.flip(Workflow.execute(flow, { id: "in time" }))
          yield* TestClock.adjust("119 minutes")
          yield* Approval.send("in time", { by: "ada" })
          yield* TestClock.adjust("2 minutes")
          yield* Approval.send("late", { by: "too late" })
          assert.strictEqual(yield* Workflow.execute(flow, { id: "in time" }), "ada")
          assert.strictEqual(yield* late, "too late")
        }).pipe(Effect.provide(layer))
      })
    )
  })

  describe(`${backend.name}: sleeping`, () => {
    it.scoped(
      "keeps its time across a crash",
      () =>
        Effect.gen(function* () {
          const { layer, lines } = yield* setup
          const flow = Workflow.make("flow", {}, () =>
            Effect.gen(function* () {
              yield* Step.make("a", { run: Ledger.done("a") })
              yield* Workflow.sleep("3 hours")
              yield* Step.make("b", { run: Ledger.done("b") })
            })
          )
          yield* Effect.gen(function* () {
            const run = Workflow.execute(flow, { id: "1" })
            const first = yield* Effect.fork(run)
            yield* TestClock.adjust("1 hour")
            yield* Fiber.interrupt(first)
            const second = yield* Effect.fork(run)
            yield* TestClock.adjust("119 minutes")
            assert.deepStrictEqual(yield* lines, ["a"])
            yield* TestClock.adjust("1 hour")
            yield* Fiber.join(second)
            assert.deepStrictEqual(yield* lines, ["a", "b"])
          }).pipe(Effect.provide(layer))
        }),
      30_000
    )
  })

  describe(`${backend.name}: ambiguous steps`, () => {
    it.scoped("probe decides without a question", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        let happened = Option.none<string>()
        let isOver = false
        const send = Step.make("send", {
          success: Schema.String,
          run: (to: string) =>
            Effect.zipRight(Ledger.done("send"), isOver ? Effect.succeed(`sent to ${to}`) : Effect.never),
          probe: (to, { number }) =>
            Effect.as(
              Effect.sync(() => [to, number]),
              happened
            )
        })
        const flow = Workflow.make("flow", { success: Schema.String }, () => send("ada"))
        yield* Effect.gen(function* () {
          const cutShort = (id: string) =>
            Effect.gen(function* () {
              const fiber = yield* Effect.fork(Workflow.execute(flow, { id }))
              yield* Effect.repeat(Effect.yieldNow(), { times: 50 })
              yield* Fiber.interrupt(fiber)
            })
          yield* cutShort("1")
          yield* cutShort("2")
          isOver = true
          assert.strictEqual(yield* Workflow.execute(flow, { id: "1" }), "sent to ada")
          happened = Option.some("found out")
          assert.strictEqual(yield* Workflow.execute(flow, { id: "2" }), "found out")
          const status = yield* Workflow.status("2")
          assert.deepStrictEqual(status.steps[0]?.ambiguous, [1])
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* lines, ["send", "send", "send"])
      })
    )
    it.scoped("ask suspends the run with a question", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const send = Step.make("send", {
          success: Schema.String,
          run: Effect.zipRight(Ledger.done("send"), Effect.never),
          onAmbiguous: "ask"
        })
        const flow = Workflow.make("flow", { success: Schema.String }, () => send)
        yield* Effect.gen(function* () {
          const fiber = yield* Effect.fork(Workflow.execute(flow, { id: "1" }))
          yield* Effect.repeat(Effect.yieldNow(), { times: 50 })
          yield* Fiber.interrupt(fiber)
          const asked = yield* Effect.flip(Workflow.execute(flow, { id: "1" }))
          assertTagged(asked, "RunSuspended")
          assert.include(asked.waits[0]?.about, "may or may not have happened")
          yield* Workflow.resolve("1", Answer.json("it did"))
          assert.strictEqual(yield* Workflow.execute(flow, { id: "1" }), "it did")
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* lines, ["send"])
      })
    )
  })
}
