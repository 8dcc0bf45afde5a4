import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { Recovery, RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"
import { assertFailed, assertTagged } from "../support/assertions.js"
import { backends, type Place } from "../support/storages.js"
import { eventually, passTime, turns } from "../support/time.js"

class Offline extends Schema.TaggedError<Offline>()("Offline", { host: Schema.String }) {}
class Declined extends Schema.TaggedError<Declined>()("Declined", { reason: Schema.String }) {}

const Receipt = Schema.Struct({ id: Schema.String, at: Schema.DateFromString })

/** Counts effects by name. */
const makeLedger = () => {
  const counts = new Map<string, number>()
  return {
    add: (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1),
    of: (name: string) => counts.get(name) ?? 0
  }
}

const counted = (ledger: ReturnType<typeof makeLedger>, name: string) => Effect.sync(() => void ledger.add(name))

/** A killed process leaves a lease that is not renewed. */
const afterLease = TestClock.adjust("31 seconds")

for (const backend of backends) {
  describe(`${backend.name}: workflows`, () => {
    const test = (title: string, body: (place: Place) => Effect.Effect<void, unknown, Scope.Scope>) =>
      it.scoped(title, () => Effect.flatMap(backend.make, body))

    const as =
      (place: Place) =>
      <A, E>(effect: Effect.Effect<A, E, Storage.Storage>) =>
        Effect.provide(effect, place.join())

    test("runs each step once, and a finished run not again", (place) =>
      Effect.gen(function* () {
        const ledger = makeLedger()
        const step = Step.make("charge", {
          success: Receipt,
          run: (id: string) => Effect.as(counted(ledger, "charge"), { id, at: new Date(5) })
        })
        const workflow = Workflow.make("checkout", { input: Schema.String, success: Receipt }, (id) => step(id))
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: "order-1" }))
        const first = yield* execute
        const second = yield* execute
        assert.deepStrictEqual(first, { id: "order-1", at: new Date(5) })
        assert.deepStrictEqual(second, first)
        assert.strictEqual(ledger.of("charge"), 1)
      }))

    test("resumes after the defect that stopped it is fixed", (place) =>
      Effect.gen(function* () {
        const ledger = makeLedger()
        let broken = true
        const charge = Step.make("charge", { success: Schema.Number, run: Effect.as(counted(ledger, "charge"), 42) })
        const ship = Step.make("ship", {
          run: Effect.suspend(() => (broken ? Effect.die(new TypeError("bug")) : counted(ledger, "ship")))
        })
        const workflow = Workflow.make("checkout", { success: Schema.Number }, () => Effect.zipLeft(charge, ship))
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const exit = yield* Effect.exit(execute)
        assertFailed(exit, "die")
        const status = yield* as(place)(Workflow.status("run"))
        assert.strictEqual(status.status, "stopped")
        assert.deepStrictEqual(
          status.steps.map(({ key, status }) => [key, status]),
          [
            ["charge", "completed"],
            ["ship", "started"]
          ]
        )
        broken = false
        assert.strictEqual(yield* execute, 42)
        assert.strictEqual(ledger.of("charge"), 1)
        assert.strictEqual(ledger.of("ship"), 1)
      }))

    test("without a schema a step returns undefined, also when replayed", (place) =>
      Effect.gen(function* () {
        let broken = true
        const seen: Array<unknown> = []
        const step = Step.make("number", { run: Effect.succeed<unknown>(42) as Effect.Effect<void> })
        const workflow = Workflow.make("w", {}, () =>
          Effect.flatMap(step, (value) => {
            seen.push(value)
            return broken ? Effect.die("bug") : Effect.void
          })
        )
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        yield* Effect.exit(execute)
        broken = false
        yield* execute
        assert.deepStrictEqual(seen, [undefined, undefined])
      }))

    test("a domain error ends the run and is replayed as an instance of its class", (place) =>
      Effect.gen(function* () {
        const charge = Step.make("charge", { error: Declined, run: Effect.fail(new Declined({ reason: "limit" })) })
        const workflow = Workflow.make("checkout", { error: Declined }, () => charge)
        const execute = as(place)(Effect.flip(Workflow.execute(workflow, { id: "run", input: undefined })))
        for (const error of [yield* execute, yield* execute]) {
          assert.instanceOf(error, Declined)
          assert.strictEqual(error instanceof Declined && error.reason, "limit")
        }
        assert.strictEqual((yield* as(place)(Workflow.status("run"))).status, "failed")
      }))

    test("a handled failure is replayed from the journal", (place) =>
      Effect.gen(function* () {
        const ledger = makeLedger()
        let broken = true
        const charge = Step.make("charge", {
          error: Declined,
          run: Effect.zipRight(counted(ledger, "charge"), Effect.fail(new Declined({ reason: "limit" })))
        })
        const workflow = Workflow.make("checkout", { success: Schema.String }, () =>
          charge.pipe(
            Effect.as("charged"),
            Effect.catchTag("Declined", (error) => Effect.succeed(`declined: ${error.reason}`)),
            Effect.tap(() => (broken ? Effect.die("bug") : Effect.void))
          )
        )
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        yield* Effect.exit(execute)
        broken = false
        assert.strictEqual(yield* execute, "declined: limit")
        assert.strictEqual(ledger.of("charge"), 1)
      }))

    test("the attempt count and the time of the next attempt survive a stop", (place) =>
      Effect.gen(function* () {
        const at: Array<number> = []
        const upload = Step.make("upload", {
          error: Offline,
          run: Effect.flatMap(TestClock.currentTimeMillis, (now) => {
            at.push(now)
            return Effect.fail(new Offline({ host: "a" }))
          }),
          recover: {
            Offline: Strategy.retry(
              RetryPolicy.exponential({ maxRetries: 2, initialDelay: "60 seconds", maxDelay: "1 hour" })
            )
          }
        })
        const workflow = Workflow.make("release", { error: Offline }, () => upload)
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const first = yield* Effect.fork(execute)
        yield* eventually(
          Effect.sync(() => at.length),
          (length) => length === 1
        )
        yield* TestClock.adjust("20 seconds")
        yield* Fiber.interrupt(first)
        const status = yield* as(place)(Workflow.status("run"))
        assert.deepStrictEqual(status.steps[0]?.nextAttemptAt, Option.some(new Date(60_000)))
        const second = yield* Effect.fork(Effect.flip(execute))
        yield* turns()
        yield* TestClock.adjust("39 seconds")
        yield* turns()
        assert.strictEqual(at.length, 1)
        yield* TestClock.adjust("1 second")
        yield* eventually(
          Effect.sync(() => at.length),
          (length) => length === 2
        )
        const error = yield* passTime(second, "1 minute")
        assert.deepStrictEqual(at, [0, 60_000, 180_000])
        assert.instanceOf(error, Recovery.RecoveryExhausted)
        if (error._tag !== "RecoveryExhausted") return
        assert.strictEqual(error.attempts, 3)
        assert.deepStrictEqual(
          error.decisions.map(({ decision }) => decision),
          ["Again", "Again", "GiveUp"]
        )
        const recorded = yield* Effect.flip(execute)
        assert.instanceOf(recorded, Recovery.RecoveryExhausted)
        assertTagged(recorded, "RecoveryExhausted")
        assert.instanceOf(recorded.error, Offline)
      }))

    test("an ambiguous step runs again, and its status says so", (place) =>
      Effect.gen(function* () {
        const ledger = makeLedger()
        const started = yield* Deferred.make<void>()
        let hang = true
        const ship = Step.make("ship", {
          run: Effect.zipRight(
            counted(ledger, "ship"),
            Effect.suspend(() =>
              hang ? Effect.zipRight(Deferred.succeed(started, undefined), Effect.never) : Effect.void
            )
          )
        })
        const workflow = Workflow.make("checkout", {}, () => ship)
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const fiber = yield* Effect.fork(execute)
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        hang = false
        yield* execute
        const [step] = (yield* as(place)(Workflow.status("run"))).steps
        assert.deepStrictEqual(step?.ambiguous, [1])
        assert.strictEqual(step?.attempts, 2)
        assert.strictEqual(ledger.of("ship"), 2)
      }))

    test('with onAmbiguous "fail" an ambiguous step fails and never runs again', (place) =>
      Effect.gen(function* () {
        const ledger = makeLedger()
        const started = yield* Deferred.make<void>()
        const ship = Step.make("ship", {
          onAmbiguous: "fail",
          retry: RetryPolicy.fixed(),
          run: Effect.zipRight(
            counted(ledger, "ship"),
            Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)
          )
        })
        const workflow = Workflow.make("checkout", {}, () => ship)
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const fiber = yield* Effect.fork(execute)
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        const error = yield* Effect.flip(execute)
        assert.instanceOf(error, Step.StepAmbiguous)
        assert.instanceOf(yield* Effect.flip(execute), Step.StepAmbiguous)
        assert.strictEqual(ledger.of("ship"), 1)
      }))

    test("an ambiguous step may be handled by a strategy", (place) =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const ship = Step.make("ship", {
          success: Schema.String,
          onAmbiguous: "fail",
          run: Effect.zipRight(Deferred.succeed(started, undefined), Effect.never),
          recover: { StepAmbiguous: Strategy.alternate(() => Effect.succeed("found at the carrier")) }
        })
        const workflow = Workflow.make("checkout", { success: Schema.String }, () => ship)
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const fiber = yield* Effect.fork(execute)
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* execute, "found at the carrier")
      }))

    test("a step in a loop has a key for each iteration", (place) =>
      Effect.gen(function* () {
        const ledger = makeLedger()
        let broken = true
        const round = Step.make("round", {
          success: Schema.Number,
          run: (n: number) => Effect.as(counted(ledger, `round-${n}`), n * 10)
        })
        const workflow = Workflow.make("loop", { success: Schema.Array(Schema.Number) }, () =>
          Effect.forEach([1, 2, 3], (n) =>
            Effect.tap(round(n), () => (n === 3 && broken ? Effect.die("bug") : Effect.void))
          )
        )
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        yield* Effect.exit(execute)
        broken = false
        assert.deepStrictEqual(yield* execute, [10, 20, 30])
        const keys = (yield* as(place)(Workflow.status("run"))).steps.map(({ key }) => key)
        assert.deepStrictEqual(keys, ["round", "round#2", "round#3"])
        for (const n of [1, 2, 3]) assert.strictEqual(ledger.of(`round-${n}`), 1)
      }))

    test("refuses concurrent steps of one name unless sections separate them", (place) =>
      Effect.gen(function* () {
        const resize = Step.make("resize", { success: Schema.Number, run: (n: number) => Effect.succeed(n / 2) })
        const all = <E, R>(each: (n: number) => Effect.Effect<number, E, R>) =>
          Effect.forEach([10, 20], each, { concurrency: 2 })
        const plain = Workflow.make("plain", { success: Schema.Array(Schema.Number) }, () => all(resize))
        const sections = Workflow.make("sections", { success: Schema.Array(Schema.Number) }, () =>
          all((n) => resize(n).pipe(Workflow.section("image", n)))
        )
        const conflict = yield* as(place)(Effect.flip(Workflow.execute(plain, { id: "plain", input: undefined })))
        assert.strictEqual(conflict._tag, "StepConflict")
        assert.include(conflict.message, "Workflow.section")
        const halves = yield* as(place)(Workflow.execute(sections, { id: "sections", input: undefined }))
        assert.deepStrictEqual(halves, [5, 10])
        const keys = (yield* as(place)(Workflow.status("sections"))).steps.map(({ key }) => key)
        assert.deepStrictEqual(keys.sort(), ["image[10]/resize", "image[20]/resize"])
      }))

    test("refuses concurrent branches of one name even if they run one after the other", (place) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const step = Step.make("x", { success: Schema.String, run: (value: string) => Effect.succeed(value) })
        const workflow = Workflow.make("w", { success: Schema.Array(Schema.String) }, () =>
          Effect.all(
            [
              Effect.zipRight(Deferred.await(gate), step("A")),
              Effect.tap(step("B"), Deferred.succeed(gate, undefined))
            ],
            {
              concurrency: 2
            }
          )
        )
        const error = yield* as(place)(Effect.flip(Workflow.execute(workflow, { id: "run", input: undefined })))
        assert.strictEqual(error._tag, "StepConflict")
      }))

    test("joined forks and interrupted attempts have an order", (place) =>
      Effect.gen(function* () {
        let first = true
        const step = Step.make("x", {
          success: Schema.String,
          run: (value: string) =>
            Effect.suspend(() => (first && value === "slow" ? Effect.never : Effect.succeed(value)))
        })
        const workflow = Workflow.make("w", { success: Schema.Array(Schema.String) }, () =>
          Effect.gen(function* () {
            const a = yield* step("a")
            const b = yield* Effect.flatMap(Effect.fork(step("b")), Fiber.join)
            const c = yield* Effect.timeoutTo(step("slow"), {
              duration: "1 second",
              onTimeout: () => "gone",
              onSuccess: (x) => x
            })
            first = false
            const d = yield* Effect.timeout(step("d"), "1 second").pipe(Effect.orDie)
            return [a, b, c, d]
          })
        )
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const fiber = yield* Effect.fork(execute)
        assert.deepStrictEqual(yield* passTime(fiber, "1 second"), ["a", "b", "gone", "d"])
        const keys = (yield* as(place)(Workflow.status("run"))).steps.map(({ key }) => key)
        assert.deepStrictEqual(keys, ["x", "x#2", "x#3", "x#4"])
      }))

    test("fibers that end before the next fork have an order: timeouts, failures, repeated batches", (place) =>
      Effect.gen(function* () {
        let broken = true
        let failures = 2
        const step = Step.make("x", {
          success: Schema.Number,
          error: Offline,
          run: (n: number) =>
            Effect.suspend(() => (failures-- > 0 ? Effect.fail(new Offline({ host: "a" })) : Effect.succeed(n)))
        })
        const batch = Effect.forEach([1, 2, 3], (n) => step(n).pipe(Workflow.section("item", n)), { concurrency: 3 })
        const workflow = Workflow.make("w", { success: Schema.Array(Schema.Number), error: Offline }, () =>
          Effect.gen(function* () {
            const again = yield* Effect.retry(
              Effect.timeout(step(0), "1 second").pipe(Effect.catchTag("TimeoutException", Effect.die)),
              { times: 5 }
            )
            const joined = yield* Effect.fork(step(7)).pipe(Effect.flatMap(Fiber.await), Effect.flatten)
            failures = broken ? 1 : 0
            const all = yield* Effect.retry(batch, { times: 5 })
            if (broken) yield* Effect.die("bug")
            return [again, joined, ...all]
          })
        )
        const execute = as(place)(Workflow.execute(workflow, { id: "run" }))
        const exit = yield* Effect.exit(execute)
        assertFailed(exit, "die")
        broken = false
        assert.deepStrictEqual(yield* execute, [0, 7, 1, 2, 3])
      }))

    test("a race whose loser was interrupted is still a race", (place) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const step = Step.make("x", {
          success: Schema.String,
          run: (value: string) => (value === "A" ? Effect.never : Effect.succeed(value))
        })
        const workflow = Workflow.make("w", { success: Schema.String }, () =>
          Effect.race(
            Effect.zipRight(
              Effect.timeoutOption(step("A"), "1 second"),
              Effect.zipRight(Deferred.succeed(gate, undefined), Effect.never)
            ),
            Effect.zipRight(Deferred.await(gate), step("B"))
          )
        )
        const fiber = yield* Effect.fork(as(place)(Effect.flip(Workflow.execute(workflow, { id: "run" }))))
        assert.strictEqual((yield* passTime(fiber, "1 second"))._tag, "StepConflict")
      }))

    test("a step that outlives its run cannot write to the journal", (place) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const done = yield* Deferred.make<void>()
        const step = Step.make("late", { run: Effect.void })
        const late = Effect.zipRight(Deferred.await(gate), step).pipe(
          Effect.exit,
          Effect.zipRight(Deferred.succeed(done, undefined))
        )
        const workflow = Workflow.make("w", {}, () => Effect.asVoid(Effect.forkDaemon(late)))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const context = yield* Layer.build(place.join())
            yield* Effect.provide(Workflow.execute(workflow, { id: "run", input: undefined }), context)
            yield* Deferred.succeed(gate, undefined)
            yield* Deferred.await(done)
            assert.deepStrictEqual((yield* Effect.provide(Workflow.status("run"), context)).steps, [])
          })
        )
      }))

    test("an ambiguous step that a strategy repeats keeps its attempt numbers", (place) =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        let hang = true
        const numbers: Array<number> = []
        const step = Step.make("ship", {
          onAmbiguous: "fail",
          run: (_: undefined, attempt) =>
            Effect.suspend(() => {
              numbers.push(attempt.number)
              return hang ? Effect.zipRight(Deferred.succeed(started, undefined), Effect.never) : Effect.void
            }),
          recover: { StepAmbiguous: Strategy.retry(RetryPolicy.fixed({ delay: 0 })) }
        })
        const workflow = Workflow.make("w", {}, () => step(undefined))
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const fiber = yield* Effect.fork(execute)
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        hang = false
        const second = yield* Effect.fork(execute)
        yield* passTime(second, "1 second")
        assert.deepStrictEqual(numbers, [1, 2])
        const [status] = (yield* as(place)(Workflow.status("run"))).steps
        assert.deepStrictEqual([status?.attempts, status?.ambiguous], [2, [1]])
      }))

    test("refuses an undefined element instead of writing null", (place) =>
      Effect.gen(function* () {
        const schema = Schema.Array(Schema.UndefinedOr(Schema.Number))
        const workflow = Workflow.make("w", { success: schema }, () =>
          Step.make("list", { success: schema, run: Effect.succeed([1, undefined]) })
        )
        const error = yield* as(place)(Effect.flip(Workflow.execute(workflow, { id: "run", input: undefined })))
        assertTagged(error, "JournalError", { reason: "Encode" })
        assert.include(error.message, "an undefined element at")
      }))

    test("names may contain any character", (place) =>
      Effect.gen(function* () {
        const names = ["a/b", "a#2", "x[1]", "100%", "🙂", " "]
        const workflow = Workflow.make("names", { success: Schema.Array(Schema.String) }, () =>
          Effect.forEach(names, (name) =>
            Step.make(name, { success: Schema.String, run: Effect.succeed(name) }).pipe(Workflow.section(name))
          )
        )
        assert.deepStrictEqual(yield* as(place)(Workflow.execute(workflow, { id: "run/1#2", input: undefined })), names)
        const keys = (yield* as(place)(Workflow.status("run/1#2"))).steps.map(({ key }) => key)
        assert.strictEqual(new Set(keys).size, names.length)
      }))

    test("a second process gets LeaseHeld while the first executes the run, and claims it after that", (place) =>
      Effect.gen(function* () {
        const ledger = makeLedger()
        const started = yield* Deferred.make<void>()
        let hang = true
        const first = Step.make("first", { run: counted(ledger, "first") })
        const second = Step.make("second", {
          run: Effect.suspend(() =>
            hang ? Effect.zipRight(Deferred.succeed(started, undefined), Effect.never) : counted(ledger, "second")
          )
        })
        const workflow = Workflow.make("w", {}, () => Effect.zipRight(first, second))
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const winner = yield* Effect.fork(execute)
        yield* Deferred.await(started)
        const held = yield* Effect.flip(execute)
        assert.strictEqual(held._tag, "LeaseHeld")
        yield* Fiber.interrupt(winner)
        hang = false
        yield* execute
        assert.strictEqual(ledger.of("first"), 1)
        assert.strictEqual(ledger.of("second"), 1)
      }))

    test("a process that lost its lease cannot write, and returns the outcome of the new owner", (place) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const started = yield* Deferred.make<void>()
        let slow = true
        const step = Step.make("step", {
          success: Schema.String,
          run: Effect.suspend(() =>
            slow
              ? Effect.zipRight(Deferred.succeed(started, undefined), Effect.as(Deferred.await(gate), "late"))
              : Effect.succeed("in time")
          )
        })
        const workflow = Workflow.make("w", { success: Schema.String }, () => step)
        const execute = Workflow.execute(workflow, { id: "run", input: undefined })
        // A paused process does not renew its lease and does not notice that.
        const paused = Layer.scoped(
          Storage.Storage,
          Storage.make({ ...place.store, renew: () => Effect.succeed([]) }, { owner: "paused" })
        )
        const late = yield* Effect.fork(Effect.provide(execute, paused))
        yield* Deferred.await(started)
        yield* afterLease
        slow = false
        assert.strictEqual(yield* as(place)(execute), "in time")
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual(yield* Fiber.join(late), "in time")
        const [status] = (yield* as(place)(Workflow.status("run"))).steps
        assert.strictEqual(status?.attempts, 2)
      }))

    test("losing the lease interrupts the work", (place) =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const interrupted = yield* Deferred.make<void>()
        const step = Step.make("step", {
          run: Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
        })
        const workflow = Workflow.make("w", {}, () => step)
        const unlucky = Layer.scoped(
          Storage.Storage,
          Storage.make({ ...place.store, renew: (leases) => Effect.succeed(leases) }, { owner: "unlucky" })
        )
        const execute = Workflow.execute(workflow, { id: "run", input: undefined })
        const fiber = yield* Effect.fork(Effect.flip(Effect.provide(execute, unlucky)))
        yield* Deferred.await(started)
        yield* TestClock.adjust("11 seconds")
        yield* Deferred.await(interrupted)
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "LeaseLost")
      }))

    test("a lease that was not renewed for its whole duration is lost", (place) =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const step = Step.make("step", {
          run: Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)
        })
        const workflow = Workflow.make("w", {}, () => step)
        const down = new Storage.StorageError({ reason: "Io", operation: "Renewing leases" })
        const cutOff = Layer.scoped(
          Storage.Storage,
          Storage.make({ ...place.store, renew: () => Effect.fail(down) }, { owner: "cut off" })
        )
        const execute = Workflow.execute(workflow, { id: "run", input: undefined })
        const fiber = yield* Effect.fork(Effect.flip(Effect.provide(execute, cutOff)))
        yield* Deferred.await(started)
        yield* TestClock.adjust("40 seconds")
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "LeaseLost")
      }))

    test("an id belongs to one workflow and input", (place) =>
      Effect.gen(function* () {
        const workflow = (name: string) =>
          Workflow.make(name, { input: Schema.Struct({ a: Schema.Number, b: Schema.String }) }, () => Effect.void)
        const input = { a: 1, b: "x" }
        yield* as(place)(Workflow.execute(workflow("one"), { id: "run", input }))
        yield* as(place)(Workflow.execute(workflow("one"), { id: "run", input: { b: "x", a: 1 } }))
        const other = yield* as(place)(Effect.flip(Workflow.execute(workflow("two"), { id: "run", input })))
        assertTagged(other, "RunMismatch", { field: "workflow" })
        const changed = yield* as(place)(
          Effect.flip(Workflow.execute(workflow("one"), { id: "run", input: { a: 2, b: "x" } }))
        )
        assertTagged(changed, "RunMismatch", { field: "input" })
        assert.include(changed.message, "another run id")
      }))

    test("an input that decodes to the same value is the same input", (place) =>
      Effect.gen(function* () {
        const Old = Schema.Struct({ a: Schema.Number })
        const New = Schema.Struct({ a: Schema.Number, b: Schema.optionalWith(Schema.String, { default: () => "new" }) })
        let broken = true
        const body = () => (broken ? Effect.die("bug") : Effect.succeed("done"))
        const old = Workflow.make("w", { input: Old, success: Schema.String }, body)
        const renewed = Workflow.make("w", { input: New, success: Schema.String }, body)
        yield* Effect.exit(as(place)(Workflow.execute(old, { id: "run", input: { a: 1 } })))
        broken = false
        const result = yield* as(place)(Workflow.execute(renewed, { id: "run", input: { a: 1, b: "new" } }))
        assert.strictEqual(result, "done")
      }))

    test("a result that cannot be encoded is a typed error and keeps the journal", (place) =>
      Effect.gen(function* () {
        let result = Number.NaN
        const ledger = makeLedger()
        const first = Step.make("first", { run: counted(ledger, "first") })
        const measure = Step.make("measure", { success: Schema.Number, run: Effect.sync(() => result) })
        const workflow = Workflow.make("w", { success: Schema.Number }, () => Effect.zipRight(first, measure))
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const error = yield* Effect.flip(execute)
        assertTagged(error, "JournalError", { reason: "Encode" })
        assert.include(error.message, `success of step "measure"`)
        result = 7
        assert.strictEqual(yield* execute, 7)
        assert.strictEqual(ledger.of("first"), 1)
      }))

    test("a journal line that no longer decodes is a typed error that names the line", (place) =>
      Effect.gen(function* () {
        let broken = true
        const make = <A, I>(schema: Schema.Schema<A, I>, value: A) =>
          Workflow.make("w", { success: Schema.String }, () =>
            Step.make("measure", { success: schema, run: Effect.succeed(value) }).pipe(
              Effect.tap(() => (broken ? Effect.die("bug") : Effect.void)),
              Effect.map((measured) => `measured ${measured}`)
            )
          )
        const numbers = make(Schema.Number, 7)
        const texts = make(Schema.String, "seven")
        yield* Effect.exit(as(place)(Workflow.execute(numbers, { id: "run", input: undefined })))
        broken = false
        const error = yield* as(place)(Effect.flip(Workflow.execute(texts, { id: "run", input: undefined })))
        assertTagged(error, "ReplayMismatch", { reason: "Shape" })
        assert.include(error.message, `success of step "measure"`)
        assert.strictEqual(yield* as(place)(Workflow.execute(numbers, { id: "run", input: undefined })), "measured 7")
      }))

    test("counts runs, and cleans up those with an outcome", (place) =>
      Effect.gen(function* () {
        const quick = Workflow.make("quick", {}, () => Effect.void)
        const open = Workflow.make("open", {}, () => Effect.die("a bug"))
        yield* as(place)(
          Effect.gen(function* () {
            yield* Workflow.execute(quick, { id: "old" })
            yield* Effect.exit(Workflow.execute(open, { id: "open" }))
            yield* TestClock.adjust("8 minutes")
            yield* Workflow.execute(quick, { id: "new" })
            const counts = (yield* Workflow.stats).map(({ runs, status, workflow }) => [workflow, status, runs])
            assert.sameDeepMembers(counts, [
              ["quick", "completed", 2],
              ["open", "stopped", 1]
            ])
            assert.strictEqual(yield* Workflow.cleanup({ olderThan: "7 minutes", workflow: "other" }), 0)
            assert.strictEqual(yield* Workflow.cleanup({ olderThan: "7 minutes" }), 1)
            assert.strictEqual((yield* Effect.flip(Workflow.status("old")))._tag, "RunNotFound")
            assert.strictEqual(yield* Workflow.remove("open"), false)
            assert.strictEqual(yield* Workflow.remove("new"), true)
            assert.strictEqual((yield* Effect.flip(Workflow.remove("new")))._tag, "RunNotFound")
            assert.deepStrictEqual(
              (yield* Workflow.list()).map(({ id }) => id),
              ["open"]
            )
          })
        )
      }))

    test("an unknown kind of journal line stops the run, and is listed in its status", (place) =>
      Effect.gen(function* () {
        const workflow = Workflow.make("w", {}, () => Effect.void)
        const opened = yield* place.store.open(
          { id: "run", workflow: "w", version: "1", input: "", labels: {} },
          "newer",
          0
        )
        if (opened._tag !== "Created") return assert.fail(opened._tag)
        const line = { seq: 1, kind: "Teleported", step: "s", attempt: 1, at: 0, payload: undefined }
        yield* place.store.append(opened.lease, [line])
        yield* place.store.release("newer", "run")
        const error = yield* as(place)(Effect.flip(Workflow.execute(workflow, { id: "run", input: undefined })))
        assertTagged(error, "JournalError")
        assert.include(error.message, "Teleported")
        const { unread } = yield* as(place)(Workflow.status("run"))
        assert.deepStrictEqual(
          unread.map(({ kind, seq }) => [kind, seq]),
          [["Teleported", 1]]
        )
      }))

    test("a body that catches every error cannot continue a stopped run", (place) =>
      Effect.gen(function* () {
        const ledger = makeLedger()
        const broken = Step.make("broken", { success: Schema.Number, run: Effect.succeed(Number.NaN) })
        const after = Step.make("after", { run: counted(ledger, "after") })
        const workflow = Workflow.make("w", {}, () =>
          Effect.zipRight(
            Effect.catchAllCause(broken, () => Effect.void),
            Effect.catchAllCause(after, () => Effect.void)
          )
        )
        const error = yield* as(place)(Effect.flip(Workflow.execute(workflow, { id: "run", input: undefined })))
        assert.strictEqual(error._tag, "JournalError")
        assert.strictEqual(ledger.of("after"), 0)
      }))

    test("a storage error stops a run, unless the step is best effort", (place) =>
      Effect.gen(function* () {
        const full = new Storage.StorageError({ reason: "Full", operation: "Appending to the journal" })
        const broken = Layer.scoped(
          Storage.Storage,
          Storage.make({ ...place.store, append: () => Effect.fail(full) }, { owner: "full" })
        )
        const run = (durability: "required" | "best-effort") => {
          const step = Step.make("step", { success: Schema.Number, durability, run: Effect.succeed(1) })
          const workflow = Workflow.make("w", { success: Schema.Number }, () => step)
          return Effect.provide(Workflow.execute(workflow, { id: durability, input: undefined }), broken)
        }
        const error = yield* Effect.flip(run("required"))
        assertTagged(error, "StorageError", { reason: "Full" })
        assert.strictEqual(yield* run("best-effort"), 1)
      }))

    test("an attempt that times out is interrupted and recorded", (place) =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const interrupted = yield* Deferred.make<void>()
        const step = Step.make("slow", {
          timeout: "5 seconds",
          run: Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
        })
        const workflow = Workflow.make("w", {}, () => step)
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        const fiber = yield* Effect.fork(Effect.flip(execute))
        yield* Deferred.await(started)
        yield* TestClock.adjust("5 seconds")
        yield* Deferred.await(interrupted)
        const error = yield* Fiber.join(fiber)
        assertTagged(error, "AttemptTimeout")
        assert.strictEqual(Duration.toMillis(error.timeout), 5_000)
        assert.instanceOf(yield* Effect.flip(execute), Recovery.AttemptTimeout)
      }))

    test("the journal records the value of an alternate", (place) =>
      Effect.gen(function* () {
        const ledger = makeLedger()
        const fetchRates = Step.make("rates", {
          success: Schema.String,
          error: Offline,
          run: Effect.fail(new Offline({ host: "a" })),
          recover: {
            Offline: Strategy.sequence(
              Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: 0 })),
              Strategy.alternate((error: Offline) => Effect.as(counted(ledger, "mirror"), `not ${error.host}`))
            )
          }
        })
        let broken = true
        const workflow = Workflow.make("w", { success: Schema.String }, () =>
          Effect.tap(fetchRates, () => (broken ? Effect.die("bug") : Effect.void))
        )
        const execute = as(place)(Workflow.execute(workflow, { id: "run", input: undefined }))
        // No time passes: a release of the lease that takes a second of the test's clock continues in the background.
        assert.isTrue(Exit.isFailure(yield* Effect.exit(execute)))
        broken = false
        assert.strictEqual(yield* execute, "not a")
        assert.strictEqual(ledger.of("mirror"), 1)
      }))

    test("the error for an unknown run names the storage", (place) =>
      Effect.gen(function* () {
        const error = yield* as(place)(Effect.flip(Workflow.status("no-such-run")))
        assert.strictEqual(error._tag, "RunNotFound")
        assert.include(error.message, "Workflow.list")
      }))

    test("list shows runs by workflow and status", (place) =>
      Effect.gen(function* () {
        const ok = Workflow.make("ok", {}, () => Effect.void)
        const bug = Workflow.make("bug", {}, () => Effect.die("bug"))
        yield* as(place)(Workflow.execute(ok, { id: "1", input: undefined, labels: { team: "a" } }))
        yield* Effect.exit(as(place)(Workflow.execute(bug, { id: "2", input: undefined })))
        const all = yield* as(place)(Workflow.list())
        assert.deepStrictEqual(
          all.map(({ id, status }) => [id, status]),
          [
            ["2", "stopped"],
            ["1", "completed"]
          ]
        )
        assert.deepStrictEqual((yield* as(place)(Workflow.list({ workflow: ok })))[0]?.labels, { team: "a" })
        assert.strictEqual((yield* as(place)(Workflow.list({ status: "stopped" }))).length, 1)
      }))
  })
}
