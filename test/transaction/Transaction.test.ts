import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { RetryPolicy, Transaction } from "effect-recovery"
import { assertFailed } from "../support/assertions.js"
import { Bad } from "../support/durable.js"
import { type Form, forms, rollbackFailureOf } from "../support/transactionForms.js"

class Boom extends Data.TaggedError("Boom")<{}> {}
class Late extends Data.TaggedError("Late")<{}> {}

/** A log of effects and compensations. */
const makeLog = () => {
  const log: Array<string> = []
  const say = (line: string) => Effect.sync(() => void log.push(line))
  const work = (name: string) =>
    say(name).pipe(
      Effect.as(name),
      Transaction.withCompensation(({ output }) => say(`undo ${Option.getOrElse(output, () => `half ${name}`)}`))
    )
  return { log, say, work }
}

const quick = RetryPolicy.layer(RetryPolicy.none)

const inMemory = ({ name, transact }: Form) => {
  describe(`Transaction.${name} in memory`, () => {
    it.effect("a success compensates nothing", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const value = yield* transact(Effect.zipRight(work("a"), work("b")))
        assert.strictEqual(value, "b")
        assert.deepStrictEqual(log, ["a", "b"])
      })
    )

    it.effect("a failure compensates in reverse and surfaces unchanged", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const exit = yield* Effect.exit(
          transact(Effect.zipRight(Effect.zipRight(work("a"), work("b")), Effect.fail(new Boom())))
        )
        assert.deepStrictEqual(exit, Exit.fail(new Boom()))
        assert.deepStrictEqual(log, ["a", "b", "undo b", "undo a"])
      })
    )

    it.effect("work that failed is compensated too, without an output", () =>
      Effect.gen(function* () {
        const { log, say, work } = makeLog()
        const half = Effect.zipRight(say("b"), Effect.fail(new Boom())).pipe(
          Transaction.withCompensation(({ attempt, output }) => say(`undo b ${Option.isNone(output)} ${attempt}`))
        )
        yield* Effect.flip(transact(Effect.zipRight(work("a"), half)))
        assert.deepStrictEqual(log, ["a", "b", "undo b true 1", "undo a"])
      })
    )

    it.effect("interruption rolls back, and cannot interrupt the rollback", () =>
      Effect.gen(function* () {
        const { log, say, work } = makeLog()
        const gate = yield* Deferred.make<void>()
        const undoing = yield* Deferred.make<void>()
        const slow = Transaction.withCompensation(work("b"), () =>
          Deferred.succeed(undoing, undefined).pipe(
            Effect.zipRight(Deferred.await(gate)),
            Effect.zipRight(say("slow undo"))
          )
        )
        const fiber = yield* Effect.fork(transact(Effect.zipRight(slow, Effect.never)))
        while (log.length === 0) yield* Effect.yieldNow()
        yield* Fiber.interruptFork(fiber)
        yield* Deferred.await(undoing)
        yield* Fiber.interruptFork(fiber)
        yield* Deferred.succeed(gate, undefined)
        const exit = yield* Fiber.await(fiber)
        assertFailed(exit, "interrupt")
        assert.deepStrictEqual(log, ["b", "undo b", "slow undo"])
      })
    )

    it.effect("a defect rolls back and stays a defect", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const exit = yield* Effect.exit(transact(Effect.zipRight(work("a"), Effect.die("bug"))))
        assert.deepStrictEqual(exit, Exit.die("bug"))
        assert.deepStrictEqual(log, ["a", "undo a"])
      })
    )

    it.effect("a failed compensation neither stops the others nor hides the original error", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const bad = Effect.succeed(1).pipe(Transaction.withCompensation(() => Effect.fail(new Late()), { name: "bad" }))
        const dies = Effect.succeed(1).pipe(Transaction.withCompensation(() => Effect.die("bug"), { name: "dies" }))
        const program = work("a").pipe(
          Effect.zipRight(bad),
          Effect.zipRight(work("b")),
          Effect.zipRight(dies),
          Effect.zipRight(Effect.fail(new Boom())),
          (self) => transact(self)
        )
        const error = rollbackFailureOf(yield* Effect.exit(Effect.provide(program, quick)))
        assert.deepStrictEqual(error.error, new Boom())
        assert.deepStrictEqual(error.original, Cause.fail(new Boom()))
        assert.strictEqual(error.failures.length, 2)
        assert.deepStrictEqual(
          error.failures.map(({ cause }) => Cause.squash(cause)),
          ["bug", new Late()]
        )
        assert.match(
          error.message,
          /bad#.*failed\. Correct the cause, then undo it by hand; in a run, .* Workflow\.rewind or "recovery initiate --type retry"/
        )
        assert.deepStrictEqual(log, ["a", "b", "undo b", "undo a"])
      })
    )

    it.effect("a compensation has its own retries, by default the current policy", () =>
      Effect.gen(function* () {
        let times = 0
        const undo = Effect.suspend(() => (++times < 4 ? Effect.fail(new Late()) : Effect.void))
        const program = Effect.void.pipe(
          Transaction.withCompensation(({ attempt }) =>
            Effect.zipRight(
              Effect.sync(() => assert.strictEqual(attempt, times + 1)),
              undo
            )
          ),
          Effect.zipRight(Effect.fail(new Boom())),
          (self) => transact(self)
        )
        const fiber = yield* Effect.fork(Effect.flip(program))
        yield* TestClock.adjust("1 second")
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(times, 3)
        yield* TestClock.adjust("4 seconds")
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Boom")
        assert.strictEqual(times, 4)
      })
    )

    it.effect("a compensation times out after a minute", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const hangs = Effect.void.pipe(Transaction.withCompensation(() => Effect.never, { retry: RetryPolicy.none }))
        const program = transact(work("a").pipe(Effect.zipRight(hangs), Effect.zipRight(Effect.fail(new Boom()))))
        const fiber = yield* Effect.fork(program)
        yield* TestClock.adjust("59 seconds")
        assert.isNull(fiber.unsafePoll())
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(rollbackFailureOf(yield* Fiber.await(fiber)).error, new Boom())
        assert.deepStrictEqual(log, ["a", "undo a"])
      })
    )

    it.effect("a compensation that interrupts itself counts as failed", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const odd = Effect.void.pipe(Transaction.withCompensation(() => Effect.interrupt))
        const program = transact(work("a").pipe(Effect.zipRight(odd), Effect.zipRight(Effect.fail(new Boom()))))
        const error = rollbackFailureOf(yield* Effect.exit(Effect.provide(program, quick)))
        assert.deepStrictEqual(error.error, new Boom())
        assert.deepStrictEqual(log, ["a", "undo a"])
      })
    )

    it.effect("an inner transaction passes its compensations to the outer one", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const inner = transact(Effect.zipRight(work("b"), work("c")))
        const program = work("a").pipe(Effect.zipRight(inner), Effect.zipRight(Effect.fail(new Boom())), (self) =>
          transact(self)
        )
        yield* Effect.flip(program)
        assert.deepStrictEqual(log, ["a", "b", "c", "undo c", "undo b", "undo a"])
      })
    )

    it.effect("a handled inner failure compensates the inner part only, and once", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const inner = work("b").pipe(Effect.zipRight(Effect.fail(new Late())), (self) => transact(self), Effect.ignore)
        const outer = work("a").pipe(Effect.zipRight(inner), Effect.zipRight(work("c")))
        yield* Effect.flip(transact(Effect.zipRight(outer, Effect.fail(new Boom()))))
        assert.deepStrictEqual(log, ["a", "b", "undo b", "c", "undo c", "undo a"])
      })
    )

    it.effect("rollbackWhen selects the errors; the outer transaction can still compensate", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const inner = work("a").pipe(Effect.zipRight(Effect.fail(new Late())), (self) =>
          transact(self, { rollbackWhen: (error) => !(error instanceof Late) })
        )
        const first = yield* Effect.flip(inner)
        assert.strictEqual(first._tag, "Late")
        assert.deepStrictEqual(log, ["a"])
        yield* Effect.flip(transact(inner))
        assert.deepStrictEqual(log, ["a", "a", "undo a"])
      })
    )

    it.effect("concurrent work is compensated in reverse order of registration", () =>
      Effect.gen(function* () {
        const { log, work } = makeLog()
        const all = Effect.all([work("a"), work("b"), work("c")], { concurrency: 3 })
        yield* Effect.flip(transact(Effect.zipRight(all, Effect.fail(new Boom()))))
        assert.deepStrictEqual(log, ["a", "b", "c", "undo c", "undo b", "undo a"])
      })
    )

    it.effect("an interrupted transaction stays interrupted when its rollback fails", () =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const program = Deferred.succeed(started, undefined).pipe(
          Transaction.withCompensation(() => Effect.fail(new Late())),
          Effect.zipRight(Effect.never),
          (self) => transact(self),
          Effect.provide(quick)
        )
        const fiber = yield* Effect.fork(program)
        yield* Deferred.await(started)
        const exit = yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.isInterrupted(exit), String(exit))
        assert.isTrue(Cause.isInterruptedOnly(rollbackFailureOf(exit).original), String(exit))
      })
    )
  })

  describe(`Transaction.${name} and fibers`, () => {
    it.scoped("undo the work of a daemon fiber that registers during the rollback", () =>
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
        yield* Effect.exit(transact(body))
        yield* Effect.repeatN(Effect.yieldNow(), 50)
        assert.deepStrictEqual(
          log.filter((line) => line.startsWith("undo")).length,
          log.filter((line) => !line.startsWith("undo")).length
        )
      })
    )

    it.effect("happen if rollbackWhen throws", () =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const work = Transaction.withCompensation(Effect.void, () => Effect.sync(() => void log.push("undone")))
        yield* Effect.exit(
          transact(Effect.zipRight(work, new Bad()), {
            rollbackWhen: () => {
              throw new Error("cannot tell")
            }
          })
        )
        assert.deepStrictEqual(log, ["undone"])
      })
    )
  })
}

for (const form of forms) inMemory(form)
