import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { Answer, Step, Strategy, Transaction, Workflow } from "effect-recovery"
import { Ledger, Testing } from "effect-recovery/testing"
import { a, Bad, type Body, b, c, d, flow, Go, memoryProcess, noted, processOn } from "../support/durable.js"
import { backends } from "../support/storages.js"
import { passTime, turns } from "../support/time.js"

for (const backend of backends) {
  const setup = processOn(backend, "30 seconds")

  const flow = <A, E, R>(body: Effect.Effect<A, E, R>) =>
    Workflow.make("flow", { error: Schema.Never }, () => Effect.asVoid(body) as Effect.Effect<void, never, R>)

  /** Stops before its end, so the next execution resumes it. */
  const stopped = Effect.die("stopped")

  const mismatch = (before: Effect.Effect<unknown, unknown, Workflow.Run | Ledger.Ledger>, after: typeof before) =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup
      yield* Effect.exit(Effect.provide(Workflow.execute(flow(before), { id: "1" }), layer))
      const told = yield* lines
      const error = yield* Effect.flip(Effect.provide(Workflow.execute(flow(after), { id: "1" }), layer))
      // No step ran in place of the missing one.
      assert.deepStrictEqual(yield* lines, told)
      return error._tag === "ReplayMismatch" ? [error.reason, error.recorded, error.found] : [error._tag]
    })

  describe(`${backend.name}: a program that diverges from its journal`, () => {
    const a = noted("a")
    const b = noted("b")
    const c = noted("c")

    it.scoped("refuses a renamed step", () =>
      Effect.gen(function* () {
        const found = yield* mismatch(Effect.all([a, b, stopped]), Effect.all([a, noted("b2"), stopped]))
        assert.deepStrictEqual(found, ["Unexpected", "b", "b2"])
      })
    )

    it.scoped("refuses a removed step, in the middle and at the end", () =>
      Effect.gen(function* () {
        const middle = yield* mismatch(Effect.all([a, b, c, stopped]), Effect.all([a, c, noted("d")]))
        assert.deepStrictEqual(middle, ["Unexpected", "b", "d"])
        const end = yield* mismatch(Effect.all([a, b, stopped]), a)
        assert.deepStrictEqual(end, ["Missing", "b", "the end of the workflow"])
      })
    )

    it.scoped("refuses reordered and inserted steps", () =>
      Effect.gen(function* () {
        // Replayed steps may come in another order until a new step starts.
        assert.deepStrictEqual(yield* mismatch(Effect.all([a, b, stopped]), Effect.all([b, c, a])), [
          "Unexpected",
          "a",
          "c"
        ])
        assert.deepStrictEqual(yield* mismatch(Effect.all([a, b, stopped]), Effect.all([a, c, b, stopped])), [
          "Unexpected",
          "b",
          "c"
        ])
      })
    )

    it.scoped("refuses another schema and another kind of wait", () =>
      Effect.gen(function* () {
        const number = Step.make("a", { success: Schema.Number, run: Effect.succeed(1) })
        const shape = yield* mismatch(Effect.all([a, stopped]), Effect.all([number, stopped]))
        assert.deepStrictEqual([shape[0], shape[1]], ["Shape", `success of step "a": "a"`])
        const other = yield* mismatch(Go.wait(), Workflow.sleep("1 hour", { name: "go" }))
        assert.deepStrictEqual(other, ["Shape", `signal "go" at "go"`, `sleep "go"`])
      })
    )

    it.scoped("accepts concurrent steps in any order", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const before = Effect.all([Effect.zipRight(a, b), c], { concurrency: 2 })
        yield* Effect.exit(Effect.provide(Workflow.execute(flow(Effect.zipRight(before, stopped)), { id: "1" }), layer))
        const after = Effect.all([c, noted("d"), Effect.zipRight(a, b)], { concurrency: 3 })
        yield* Effect.provide(Workflow.execute(flow(after), { id: "1" }), layer)
        assert.strictEqual((yield* lines).length, 4)
      })
    )

    it.scoped("patched keeps runs in progress on the old branch", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const old = flow(Effect.all([a, b, stopped]))
        const make = (isStopped: boolean) =>
          flow(
            Effect.gen(function* () {
              yield* a
              if (yield* Workflow.patched("c instead of b")) yield* c
              else yield* b
              if (isStopped) yield* stopped
              yield* noted("d")
            })
          )
        yield* Effect.gen(function* () {
          yield* Effect.exit(Workflow.execute(old, { id: "old" }))
          yield* Effect.exit(Workflow.execute(make(true), { id: "new" }))
          for (const id of ["old", "new"]) yield* Workflow.execute(make(false), { id })
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* lines, ["a", "b", "a", "c", "d", "d"])
      })
    )

    it.scoped("replays an exported journal without running a step", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const done = flow(Effect.all([a, b]))
        const open = flow(Effect.all([a, Go.wait(), b]))
        yield* Effect.gen(function* () {
          yield* Workflow.execute(done, { id: "done" })
          yield* Effect.exit(Workflow.execute(open, { id: "open" }))
          const [first, second] = yield* Effect.all([Workflow.history("done"), Workflow.history("open")])
          const json = JSON.parse(JSON.stringify(first))
          const kept = yield* Schema.decodeUnknown(Workflow.History)(json)
          assert.deepStrictEqual(yield* Testing.replay(done, kept), { answered: 2, end: "completed" })
          assert.deepStrictEqual(yield* Testing.replay(open, second), { answered: 1, end: "open" })
          const renamed = yield* Effect.flip(Testing.replay(flow(Effect.all([a, c])), kept))
          assert.strictEqual(renamed._tag, "ReplayMismatch")
          for (const changed of [[a, b, c], [b, a], [b], [a]]) {
            const misfit = yield* Effect.flip(Testing.replay(flow(Effect.all(changed)), kept))
            assert.strictEqual(misfit._tag, "ReplayMismatch")
          }
          const dropped = yield* Effect.flip(Testing.replay(flow(Effect.all([Go.wait(), b])), second))
          assert.strictEqual(dropped._tag, "ReplayMismatch")
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* lines, ["a", "b", "a"])
      })
    )
  })
}

describe("replay accepts", () => {
  it.scoped("steps in finalizers, after a timeout and after a caught failure", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
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
        assert.isTrue(Exit.isFailure(yield* passTime(first, "1 second")), `${i}`)
        isFirst = false
        // A timeout of the program is not recorded: it passes again before what it interrupted is passed over.
        const second = yield* Effect.fork(Effect.exit(run))
        assert.deepStrictEqual(yield* passTime(second, "1 second"), Exit.void, `${i}`)
      }
    })
  )

  it.scoped("a patched branch whose steps ran in other fibers", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* memoryProcess()
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

  it.scoped("a history whose steps run beside a wait", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
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

  it.scoped("an ambiguous pivot only as a barrier: the rollback stops at it", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* memoryProcess()
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
        yield* turns(5)
        const error = yield* Effect.flip(Workflow.execute(order, { id: "1" }))
        assert.strictEqual(error._tag, "RollbackFailed")
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* lines, ["x"])
    })
  )
})

describe("concurrent fibers replay as they ran", () => {
  const slow = (name: string, millis: number) =>
    Step.make(name, { success: Schema.String, run: Effect.zipRight(turns(millis), Effect.as(Ledger.done(name), name)) })

  /** Each workflow waits at its end and is resumed: no step may be lost, repeated or replayed differently. */
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
        const { layer, lines } = yield* memoryProcess()
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

  it.scoped("patched is new when first reached after an answered question", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
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
