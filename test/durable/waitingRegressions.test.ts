import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import {
  Answer,
  CircuitBreaker,
  Graph,
  Operation,
  Recovery,
  RetryPolicy,
  Signal,
  Step,
  Storage,
  Strategy,
  Transaction,
  Worker,
  Workflow
} from "effect-recovery"
import { Ledger, Testing } from "effect-recovery/testing"

class Bad extends Schema.TaggedError<Bad>()("Bad", {}) {}

const Go = Signal.make("go", Schema.Number)
const Other = Signal.make("other", Schema.Number)

const noted = (name: string) => Step.make(name, { success: Schema.String, run: Effect.as(Ledger.done(name), name) })
const [a, b, c, d] = [noted("a"), noted("b"), noted("c"), noted("d")] as const

const turn = (millis: number) => Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, millis)))

/** One test for each bug that was found by looking for it. */
const setup = (change: (store: Storage.Store) => Storage.Store = (store) => store) =>
  Effect.gen(function* () {
    const ledger = yield* Ledger.make
    const storage = Layer.scoped(
      Storage.Storage,
      Storage.make(change(Storage.memoryStore()), { owner: "test", lease: "10 days" })
    )
    const base = Layer.merge(Layer.succeed(Ledger.Ledger, ledger), RetryPolicy.layer(RetryPolicy.none))
    const context = yield* Layer.build(Layer.merge(storage, base))
    const lines = Effect.map(ledger.lines, (all) =>
      all.map(({ effect, kind }) => (kind === "done" ? effect : `undo ${effect}`))
    )
    return { layer: Layer.succeedContext(context), lines }
  })

type Body = Effect.Effect<unknown, never, Workflow.Run | Ledger.Ledger>
const flow = (body: Body) => Workflow.make("flow", {}, () => Effect.asVoid(body))

describe("suspending", () => {
  it.scoped("a run is not left while a branch of it still writes", () =>
    Effect.gen(function* () {
      // Its storage takes its time.
      const { layer, lines } = yield* setup((store) => ({
        ...store,
        append: (...args) => Effect.zipRight(turn(15), store.append(...args))
      }))
      const both = flow(
        Effect.all([Go.wait(), Effect.all([a, b, c]), Effect.zipRight(Other.wait(), d)], { concurrency: 3 })
      )
      yield* Effect.gen(function* () {
        yield* Workflow.start(both, { id: "1" })
        yield* Other.send("1", 1)
        const suspended = yield* Effect.flip(Workflow.execute(both, { id: "1" }))
        assert.isTrue(suspended._tag === "RunSuspended" && suspended.waits.length === 1)
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual([...(yield* lines)].sort(), ["a", "b", "c", "d"])
    })
  )

  it.scoped("a race that two branches finish together is told as it was", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup((store) => ({
        ...store,
        append: (...args) => Effect.zipRight(turn(10), store.append(...args))
      }))
      const raced = flow(
        Effect.gen(function* () {
          const which = yield* Effect.race(Effect.as(Workflow.sleep("1 hour"), "late"), Effect.as(Go.wait(), "told"))
          yield* noted(which)
          yield* Other.wait()
        })
      )
      yield* Effect.gen(function* () {
        const run = Workflow.execute(raced, { id: "1" })
        yield* Workflow.start(raced, { id: "1" })
        const first = yield* Effect.fork(Effect.flip(run))
        yield* turn(60)
        yield* Go.send("1", 1)
        yield* TestClock.adjust("61 minutes")
        yield* first
        const told = yield* lines
        assert.strictEqual(told.length, 1)
        const again = yield* Effect.flip(run)
        assert.strictEqual(again._tag, "RunSuspended")
        assert.deepStrictEqual(yield* lines, told)
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("for ever is no deadline", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      const forever = flow(
        Effect.race(Workflow.sleep(Duration.infinity), Effect.orDie(Go.wait({ within: Number.MAX_SAFE_INTEGER })))
      )
      yield* Effect.gen(function* () {
        const suspended = yield* Effect.flip(Workflow.execute(forever, { id: "1" }))
        assert.isTrue(suspended._tag === "RunSuspended" && Option.isNone(suspended.until))
        yield* Go.send("1", 1)
        yield* Workflow.execute(forever, { id: "1" })
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("a sleep of months outlasts what a timer can hold", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup()
      const long = flow(Effect.zipRight(Workflow.sleep("60 days"), a))
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(Workflow.execute(long, { id: "1" }))
        yield* turn(5)
        yield* TestClock.adjust("59 days")
        assert.deepStrictEqual(yield* lines, [])
        yield* TestClock.adjust("1 day")
        yield* fiber
        assert.deepStrictEqual(yield* lines, ["a"])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("nobody is asked while a step runs or is undone", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      const ask = new Bad().pipe(Recovery.recover({ Bad: Strategy.manual({ answer: Schema.String }) }))
      // The types refuse it, but a cast may hide it.
      const inside = Step.make("inside", { success: Schema.String, error: Bad, run: ask }) as unknown as Body
      yield* Effect.gen(function* () {
        const exit = yield* Effect.exit(Workflow.execute(flow(inside), { id: "1" }))
        assert.isTrue(Exit.isFailure(exit) && String(exit.cause).includes("AskedInsideStep"))
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("waits and rewinds", () => {
  it.scoped("a fork has the waits of the run it comes from", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup()
      const waiting = flow(Effect.all([a, Workflow.sleep("1 millis"), Go.wait(), b, c]))
      yield* Effect.gen(function* () {
        yield* Workflow.start(waiting, { id: "1" })
        yield* Go.send("1", 1)
        const first = yield* Effect.fork(Workflow.execute(waiting, { id: "1" }))
        yield* turn(10)
        yield* TestClock.adjust("1 second")
        yield* first
        yield* Workflow.fork("1", { as: "2", to: Workflow.beforeStep("c") })
        yield* Workflow.execute(waiting, { id: "2" })
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* lines, ["a", "b", "c", "c"])
    })
  )

  it.scoped("an old answer is not taken for a new failure", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup()
      const charge = Step.make("charge", {
        success: Schema.Number,
        error: Bad,
        run: Effect.zipRight(Ledger.done("charge"), new Bad()),
        recover: { Bad: Strategy.manual() }
      })
      const side = Workflow.make("flow", { error: Bad }, () =>
        Effect.asVoid(Effect.all([charge, Effect.zipRight(Go.wait(), a)], { concurrency: 2 }))
      )
      yield* Effect.gen(function* () {
        const run = Effect.flip(Workflow.execute(side, { id: "1" }))
        yield* run
        yield* Workflow.resolve("1", Answer.retry)
        yield* run
        yield* Go.send("1", 1)
        yield* run
        yield* Workflow.resolve("1", Answer.retry)
        yield* run
        const before = (yield* lines).filter((line) => line === "charge").length
        yield* Workflow.rewind(side, "1", Workflow.beforeStep("a"))
        const asked = yield* run
        assert.isTrue(asked._tag === "RunSuspended" && asked.waits[0]?.id === "charge?1~2")
        assert.strictEqual((yield* lines).filter((line) => line === "charge").length, before + 1)
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("replaying", () => {
  it.scoped("steps of finalizers, of what timed out, and after what was caught are no mismatch", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      let isFirst = true
      const once = Effect.suspend(() => (isFirst ? Effect.die("a bug") : Effect.void))
      const hangs = Step.make("slow", { run: Effect.suspend(() => (isFirst ? Effect.never : Effect.void)) })
      const dies = Step.make("dies", { run: Effect.suspend(() => (isFirst ? Effect.die("a bug") : Effect.void)) })
      const shapes: ReadonlyArray<Body> = [
        Effect.acquireUseRelease(
          a,
          () => Effect.all([b, once, c]),
          () => noted("release")
        ),
        Effect.all([a, once, c]).pipe(Effect.ensuring(noted("finally"))),
        Effect.zipRight(
          hangs.pipe(
            Effect.timeout("20 millis"),
            Effect.catchTag("TimeoutException", () => d)
          ),
          once
        ),
        Effect.zipRight(dies.pipe(Effect.catchAllCause(() => d)), once),
        Effect.zipRight(
          Transaction.run(
            Effect.zipRight(Step.make("x", { run: Ledger.done("x"), compensate: () => Ledger.undone("x") }), once)
          ).pipe(Effect.exit),
          Effect.zipRight(d, once)
        )
      ]
      for (const [i, shape] of shapes.entries()) {
        isFirst = true
        const run = Workflow.execute(flow(shape), { id: String(i) }).pipe(Effect.provide(layer))
        const first = yield* Effect.fork(Effect.exit(run))
        yield* turn(5)
        yield* TestClock.adjust("1 second")
        assert.isTrue(Exit.isFailure(yield* first), `${i}`)
        isFirst = false
        assert.deepStrictEqual(yield* Effect.exit(run), Exit.void, `${i}`)
      }
    })
  )

  it.scoped("patched is about all that was done, whichever fiber did it", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup()
      const stopped = Effect.die("stopped")
      const old = flow(Effect.all([a, Effect.all([b, c], { concurrency: 2 }), stopped]))
      const changed = flow(
        Effect.zipRight(
          a,
          Effect.flatMap(Workflow.patched("d"), (isNew) =>
            isNew ? Effect.asVoid(d) : Effect.asVoid(Effect.all([b, c], { concurrency: 2 }))
          )
        )
      )
      yield* Effect.gen(function* () {
        yield* Effect.exit(Workflow.execute(old, { id: "1" }))
        yield* Workflow.execute(changed, { id: "1" })
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* lines, ["a", "b", "c"])
    })
  )

  it.scoped("a history whose steps run beside a wait comes to its end", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      const beside = flow(
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(a)
          yield* Go.wait()
          yield* fiber
        })
      )
      const replayed = yield* Effect.gen(function* () {
        yield* Effect.flip(Workflow.execute(beside, { id: "1" }))
        return yield* Testing.replay(beside, yield* Workflow.history("1"))
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(replayed, { answered: 1, end: "open" })
    })
  )

  it.scoped("a pivot of which nobody knows whether it happened stands in the way", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup()
      const started = yield* Deferred.make<void>()
      const x = Step.make("x", { run: Ledger.done("x"), compensate: () => Ledger.undone("x") })
      const pay = Step.make("pay", {
        error: Bad,
        run: Effect.zipRight(Deferred.succeed(started, undefined), Effect.never),
        pivot: true,
        probe: () => new Bad()
      })
      const order = Workflow.make("order", { error: Bad }, () => Transaction.run(Effect.zipRight(x, pay)))
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(Workflow.execute(order, { id: "1" }))
        yield* Deferred.await(started)
        yield* fiber.interruptAsFork(fiber.id())
        yield* turn(5)
        const error = yield* Effect.flip(Workflow.execute(order, { id: "1" }))
        assert.strictEqual(error._tag, "RollbackFailed")
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* lines, ["x"])
    })
  )
})

describe("fibers side by side, resumed", () => {
  const slow = (name: string, millis: number) =>
    Step.make(name, { success: Schema.String, run: Effect.zipRight(turn(millis), Effect.as(Ledger.done(name), name)) })

  /** Each waits at its end, so that it is resumed: nothing may be lost, begun again, or told otherwise. */
  const shapes: Readonly<Record<string, Body>> = {
    "a forked fiber that is cut short, with steps in its finalizer": Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        Effect.acquireUseRelease(
          a,
          () => Effect.never,
          () => Effect.zipRight(b, c)
        )
      )
      yield* slow("r", 20)
      yield* Fiber.interrupt(fiber)
    }),
    "a forked fiber that has ended before it is cut short": Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.zipRight(a, b))
      yield* slow("r", 20)
      const exit = yield* Fiber.interrupt(fiber)
      yield* noted(Exit.isSuccess(exit) ? "ended" : "cut")
    }),
    "the loser of a race, with steps in its finalizer": Effect.race(
      slow("w", 40),
      Effect.acquireUseRelease(
        a,
        () => Effect.never,
        () => Effect.zipRight(b, c)
      )
    ),
    "the loser of a race that cannot be cut short": Effect.race(
      slow("w", 10),
      Effect.uninterruptible(Effect.zipRight(slow("a", 40), Effect.zipRight(b, c)))
    ),
    "a race whose winner lies deep": Effect.gen(function* () {
      const winner = Effect.raceFirst(
        Effect.raceFirst(Effect.raceFirst(Effect.as(slow("a", 10), "a"), Effect.never), Effect.never),
        Effect.never
      ).pipe(Effect.timeout("1 hour"), Effect.timeout("2 hours"), Effect.orDie)
      const loser = Effect.zipRight(Effect.uninterruptible(slow("b", 40)), Effect.as(slow("bb", 1_000), "b"))
      yield* noted(`won ${yield* Effect.raceAll([winner, loser])}`)
    }),
    "patched after a fork": Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.all([a, b, c]))
      yield* slow("r", 20)
      yield* fiber
      yield* noted((yield* Workflow.patched("p")) ? "new" : "old")
    })
  }
  for (const [name, shape] of Object.entries(shapes)) {
    it.scopedLive(name, () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup()
        let isPatched = false
        const waiting = flow(
          Effect.gen(function* () {
            yield* shape
            yield* Go.wait()
            isPatched = yield* Workflow.patched("at the end")
          })
        )
        yield* Effect.gen(function* () {
          const first = yield* Effect.flip(Workflow.execute(waiting, { id: "1" }))
          assert.strictEqual(first._tag, "RunSuspended")
          const told = yield* lines
          const steps = (yield* Workflow.status("1")).steps.map(({ key, status }) => [key, status])
          yield* Go.send("1", 1)
          yield* Workflow.execute(waiting, { id: "1" })
          assert.deepStrictEqual(yield* lines, told)
          assert.deepStrictEqual(
            (yield* Workflow.status("1")).steps.map(({ key, status }) => [key, status]),
            steps
          )
          assert.isTrue(isPatched)
        }).pipe(Effect.provide(layer))
      })
    )
  }

  it.scoped("patched is asked for the first time after a question was answered", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      const asks = Step.make("q", {
        success: Schema.Number,
        error: Bad,
        run: new Bad(),
        recover: { Bad: Strategy.manual() }
      })
      let isFirst = true
      let isNew = false
      const asking = Workflow.make("flow", { error: Bad }, () =>
        Effect.gen(function* () {
          yield* asks
          if (isFirst) yield* Effect.die("stopped")
          isNew = yield* Workflow.patched("p")
        })
      )
      yield* Effect.gen(function* () {
        const run = Effect.exit(Workflow.execute(asking, { id: "1" }))
        yield* run
        yield* Workflow.resolve("1", Answer.json(1))
        yield* run
        isFirst = false
        yield* run
        assert.isTrue(isNew)
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("graphs", () => {
  const asking = Graph.node(
    Step.make("asking", { success: Schema.Number, error: Bad, run: new Bad(), recover: { Bad: Strategy.manual() } })
  )
  const other = Graph.node(noted("other"))

  it.scoped("a node that asks keeps no other from running", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup()
      const graph = Graph.make("g", { asking, other })
      const run = Workflow.make("w", { error: Bad }, () => Effect.asVoid(Graph.run(graph, { concurrency: 1 })))
      const suspended = yield* Effect.provide(Effect.flip(Workflow.execute(run, { id: "1" })), layer)
      assert.strictEqual(suspended._tag, "RunSuspended")
      assert.deepStrictEqual(yield* lines, ["other"])
    })
  )

  it.scoped("two of one name, and a section of that name, are told apart", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup()
      const graph = Graph.make("g", { other })
      const third = Graph.make("g", { third: Graph.node(noted("third")) })
      let isFirst = true
      const body = Effect.gen(function* () {
        yield* Graph.run(graph)
        yield* Graph.run(third)
        yield* Graph.run(graph)
        yield* a.pipe(Workflow.section("g"))
        if (isFirst) yield* Effect.die("stopped")
      })
      yield* Effect.gen(function* () {
        yield* Effect.exit(Workflow.execute(flow(body), { id: "1" }))
        isFirst = false
        yield* Workflow.execute(flow(body), { id: "1" })
        const drawn = Graph.toMermaid(graph, yield* Workflow.status("1"))
        assert.include(drawn, "other: completed")
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* lines, ["other", "third", "other", "a"])
    })
  )

  it.scoped("a concurrency that is none is refused", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      for (const concurrency of [0, -1, 0.5, Number.NaN]) {
        const run = flow(Graph.run(Graph.make("g", { other }), { concurrency }))
        const exit = yield* Effect.exit(Effect.provide(Workflow.execute(run, { id: String(concurrency) }), layer))
        assert.isTrue(Exit.isFailure(exit) && String(exit.cause).includes("RangeError"))
      }
    })
  )

  it.scoped("partial outputs may be null, or nothing", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      const nothing = Graph.node(
        Step.make("nothing", { success: Schema.NullOr(Schema.String), run: Effect.succeed(null) })
      )
      const none = Graph.node(Step.make("none", { run: Effect.void }))
      const failing = Graph.node(Step.make("failing", { error: Bad, run: new Bad() }))
      const graph = Graph.make("g", { nothing, none, failing })
      const run = Workflow.make("w", { error: Bad }, () => Effect.asVoid(Graph.run(graph)))
      const error = yield* Effect.provide(Effect.flip(Workflow.execute(run, { id: "1" })), layer)
      if (error._tag !== "GraphFailed") return assert.fail(error._tag)
      assert.deepStrictEqual(yield* Graph.partial(graph, error), { nothing: null, none: undefined })
    })
  )

  it("a function around a step is refused at once, since it hides the step's name", () => {
    assert.throws(() => Graph.node({ other }, ({ other }) => noted(other)), "Step.make")
  })
})

describe("operations", () => {
  it.scoped("an open breaker is no outcome", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      yield* Effect.gen(function* () {
        const breaker = yield* CircuitBreaker.make({ name: "b" })
        const op = yield* Recovery.recoverable({
          name: "op",
          retry: RetryPolicy.none,
          breaker,
          persist: Operation.persist({ success: Schema.Number })
        })
        yield* breaker.isolate
        const refused = yield* Effect.flip(op(Effect.succeed(1), { id: "1" }))
        assert.strictEqual(refused._tag, "CircuitOpen")
        yield* breaker.reset
        assert.strictEqual(yield* op(Effect.succeed(1), { id: "1" }), 1)
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("a full bulkhead keeps no operation that has ended from being told", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      yield* Effect.gen(function* () {
        const op = yield* Recovery.recoverable({
          name: "op",
          retry: RetryPolicy.none,
          bulkhead: { maxConcurrent: 1, maxQueue: 0 },
          persist: Operation.persist({ success: Schema.Number })
        })
        const gate = yield* Deferred.make<void>()
        yield* op(Effect.succeed(1), { id: "a/b" })
        const busy = yield* Effect.fork(op(Effect.as(Deferred.await(gate), 2), { id: "2" }))
        yield* turn(5)
        assert.strictEqual(yield* op(Effect.succeed(3), { id: "a/b" }), 1)
        const full = yield* Effect.flip(op(Effect.succeed(3), { id: "3" }))
        assert.strictEqual(full._tag, "BulkheadFull")
        yield* Deferred.succeed(gate, undefined)
        yield* busy
        assert.strictEqual(yield* op(Effect.succeed(3), { id: "3" }), 3)
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("workers", () => {
  it.scoped("a run that somebody else has ended is not stuck, and starting again changes nothing", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      let broken = true
      const bug = flow(Effect.suspend(() => (broken ? Effect.die("a bug") : Effect.void)))
      yield* Effect.gen(function* () {
        const worker = yield* Worker.Worker
        yield* Workflow.start(bug, { id: "1" })
        yield* Effect.repeat(Effect.zipRight(turn(2), worker.health), { until: ({ stuck }) => stuck.length === 1 })
        broken = false
        yield* Workflow.execute(bug, { id: "1" })
        assert.deepStrictEqual((yield* worker.health).stuck, [])
      }).pipe(Effect.provide(Layer.provideMerge(Worker.layer([bug]), layer)))
      yield* Effect.gen(function* () {
        yield* Workflow.start(bug, { id: "2" })
        const before = yield* Workflow.status("2")
        yield* TestClock.adjust("1 hour")
        yield* Workflow.start(bug, { id: "2" })
        assert.deepStrictEqual(yield* Workflow.status("2"), before)
        const other = Workflow.make("other", {}, () => Effect.void)
        const mismatch = yield* Effect.flip(Workflow.start(other, { id: "2" }))
        assert.strictEqual(mismatch._tag, "RunMismatch")
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("a run that interrupts itself is stuck, and put off", () =>
    Effect.gen(function* () {
      const { layer } = yield* setup()
      let times = 0
      const self = flow(
        Effect.suspend(() =>
          Effect.zipRight(
            Effect.sync(() => void times++),
            Effect.interrupt
          )
        )
      )
      yield* Effect.gen(function* () {
        const worker = yield* Worker.Worker
        yield* Workflow.start(self, { id: "1" })
        yield* Effect.repeat(Effect.zipRight(turn(2), worker.health), { until: ({ stuck }) => stuck.length === 1 })
        for (let i = 0; i < 12; i++) {
          yield* TestClock.adjust("5 seconds")
          yield* turn(5)
        }
        // After 5, 10 and 20 seconds.
        assert.strictEqual(times, 4)
      }).pipe(Effect.provide(Layer.provideMerge(Worker.layer([self]), layer)))
    })
  )
})

describe("testing", () => {
  it.live("a crash test leaves no test clock behind", () =>
    Effect.gen(function* () {
      yield* Testing.crashEverywhere(flow(Effect.void), { input: undefined })
      yield* Effect.sleep("1 millis")
    })
  )
})
