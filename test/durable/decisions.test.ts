import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Events, Recovery, RetryPolicy, Signal, Step, Strategy, Transaction, Worker, Workflow } from "effect-recovery"
import { Insights, RecoveryManager } from "effect-recovery/operate"
import { Ledger, Testing } from "effect-recovery/testing"
import { Bad, memoryProcess, noted, undoable } from "../support/durable.js"
import { backends, memory } from "../support/storages.js"
import { eventually, passTime, turns } from "../support/time.js"

class Other extends Schema.TaggedError<Other>()("Other", {}) {}

/** A step that fails in its first uses of a section. */
const failing = (name: string, uses = 99, error: Bad | Other = new Bad()) =>
  Step.make(name, {
    success: Schema.String,
    error: Schema.Union(Bad, Other),
    run: (_: undefined, { step }) =>
      Effect.zipRight(
        Ledger.done(name),
        Number(/#(\d+)$/.exec(step)?.[1] ?? 1) <= uses ? Effect.fail(error) : Effect.succeed(name)
      )
  })(undefined)

const patiently = Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: "10 seconds" }))

/** The decisions and ends of recoveries that an observer saw of each run, in whichever process. */
const observer = () => {
  const runs: Array<Array<string>> = []
  const sources = new Set<string | undefined>()
  const layer = Events.layer((event) =>
    Effect.sync(() => {
      if (event._tag === "RunStarted") runs.push([])
      if (event._tag !== "Decided" && event._tag !== "RecoveryEnded") return
      runs.at(-1)?.push(event._tag === "Decided" ? event.decision : event.outcome)
      sources.add(event.source.run)
    })
  )
  return { runs, sources, layer }
}

/** What is in the first list and not in the second, counted. */
const without = (list: ReadonlyArray<string>, other: ReadonlyArray<string>) => {
  const left = [...other]
  return list.filter((one) => {
    const at = left.indexOf(one)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}

type Body = Effect.Effect<unknown, unknown, Workflow.Run | Ledger.Ledger | Strategy.Rewinder | Transaction.Transaction>

/** The errors are those of the steps; the workflow's schema has them. */
const flow = (body: Body) =>
  Workflow.make(
    "flow",
    { error: Schema.Union(Bad, Other) },
    () => Effect.asVoid(body) as Effect.Effect<void, Bad, Ledger.Ledger>
  )

const bodies: Readonly<Record<string, { readonly body: Body; readonly told: ReadonlyArray<string> }>> = {
  "skips a step": {
    body: Effect.zipRight(failing("a").pipe(Recovery.recover({ Bad: Strategy.skip() })), noted("b")),
    told: ["Instead", "recovered"]
  },
  "takes another step": {
    body: failing("a").pipe(Recovery.recover({ Bad: Strategy.alternate(() => noted("b")) })),
    told: ["Instead", "recovered"]
  },
  "retries a part of the body": {
    body: Effect.zipRight(noted("first"), failing("a", 2)).pipe(Recovery.recover({ Bad: patiently })),
    told: ["Again", "Again", "recovered"]
  },
  "exhausts its retries": {
    body: failing("a").pipe(Recovery.recover({ Bad: patiently })),
    told: ["Again", "Again", "GiveUp", "exhausted"]
  },
  "retries, then tries an alternate that fails, then skips": {
    body: failing("a").pipe(
      Recovery.recover({
        Bad: Strategy.sequence(
          patiently,
          Strategy.alternate(() => failing("b")),
          Strategy.skip("c")
        )
      })
    ),
    told: ["Again", "Again", "Instead", "Instead", "recovered"]
  },
  "gives up, and a recovery around it skips": {
    body: failing("a").pipe(
      Recovery.recover({ Bad: Strategy.abort }, { name: "inner" }),
      Recovery.recover({ Bad: Strategy.skip() }, { name: "outer" })
    ),
    told: ["GiveUp", "failed", "Instead", "recovered"]
  },
  "is exhausted, and a recovery around it retries": {
    body: failing("a", 2).pipe(
      Recovery.recover({ Bad: Strategy.retry(RetryPolicy.none) }),
      Recovery.recover({ RecoveryExhausted: patiently })
    ),
    told: ["GiveUp", "exhausted", "Again", "GiveUp", "exhausted", "Again", "recovered"]
  },
  "recovers parallel branches": {
    body: Effect.all(
      [
        failing("a", 1).pipe(Recovery.recover({ Bad: patiently })),
        failing("b", 99, new Other()).pipe(Recovery.recover({ Other: Strategy.skip() })),
        failing("c", 2).pipe(Recovery.recover({ Bad: patiently }))
      ],
      { concurrency: 3 }
    ),
    told: ["Again", "Again", "Again", "Instead", "recovered", "recovered", "recovered"]
  },
  "recovers failures that came out of no step": {
    body: Effect.gen(function* () {
      const first = yield* Effect.fail(new Bad()).pipe(Recovery.recover({ Bad: Strategy.skip("x") }))
      yield* noted("a")
      const second = yield* Effect.fail(new Bad()).pipe(Recovery.recover({ Bad: Strategy.skip("y") }))
      return yield* noted(first + second)
    }),
    told: ["Instead", "recovered", "Instead", "recovered"]
  },
  "races a branch that recovers against one that is interrupted": {
    body: Effect.gen(function* () {
      const recovered = failing("a", 1).pipe(Recovery.recover({ Bad: patiently }))
      const slower = Effect.zipRight(noted("b"), Workflow.sleep("1 minute"))
      yield* Effect.raceFirst(Effect.as(recovered, "a"), Effect.as(slower, "b"))
      yield* noted("last")
    }),
    told: ["Again", "recovered"]
  },
  "races a sleep against a recovery that waits": {
    body: Effect.gen(function* () {
      // Longer than the lease of a dead process, so that the race is always decided by the sleep.
      const policy = RetryPolicy.fixed({ maxRetries: 1, delay: "2 minutes", maxDelay: "2 minutes" })
      const slow = failing("a").pipe(Recovery.recover({ Bad: Strategy.retry(policy) }))
      yield* Effect.raceFirst(Effect.as(slow, "a"), Effect.as(Workflow.sleep("5 seconds"), "b"))
      yield* noted("last")
    }),
    told: ["Again", "interrupted"]
  },
  "retries a transaction": {
    body: Transaction.run(Effect.zipRight(undoable("before"), failing("a"))).pipe(
      Recovery.recover({
        Bad: Strategy.sequence(
          Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: "10 seconds" })),
          Strategy.skip()
        )
      }),
      Effect.zipRight(noted("b"))
    ),
    told: ["Again", "Instead", "recovered"]
  },
  "recovers in a loop": {
    body: Effect.forEach([1, 2, 3], (i) =>
      failing("a", 2).pipe(Recovery.recover({ Bad: Strategy.skip("") }), Workflow.section("turn", i))
    ),
    told: ["Instead", "Instead", "Instead", "recovered", "recovered", "recovered"]
  }
}

describe.each(backends)("the decisions of recoveries in a body, on $name", (backend) => {
  // SQLite keeps the same lines, so the first bodies show it.
  for (const [name, { body, told }] of Object.entries(bodies).slice(0, backend === memory ? undefined : 4)) {
    it.live(`a body that ${name} ends alike with a crash after any line of the journal`, () =>
      Effect.gen(function* () {
        const seen = observer()
        yield* Effect.provide(
          Effect.gen(function* () {
            const store = Effect.map(backend.make, (place) => place.store)
            const card = yield* Testing.crashEverywhere(flow(body), { input: undefined, store })
            assert.isAtLeast(card.crashes, 8)
            assert.deepStrictEqual(card.outcomes, [])
            assert.deepStrictEqual([card.lost, card.duplicated, card.undosMissed, card.undosDoubled], [[], [], [], []])
          }),
          seen.layer
        )
        const [undisturbed = []] = seen.runs
        assert.deepStrictEqual([...undisturbed].sort(), [...told].sort())
        // Events emitted before a crash are not emitted again.
        for (const run of seen.runs) assert.deepStrictEqual(without(run, told), [])
        assert.deepStrictEqual([...seen.sources], ["crash-everywhere"])
      })
    )
  }
})

const Go = Signal.make("go", Schema.Number)

/** Waits for signals, each of which suspends the run once. */
const fourSignals = Effect.forEach([1, 2, 3, 4], (i) => Go.wait({ id: String(i) }), { discard: true })

/** Executes the run until it ends: it is resumed after each of four signals. */
const resumedFourTimes = <A, E, R>(execution: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    for (const i of [1, 2, 3, 4]) {
      const exit = yield* Effect.exit(execution)
      assert.include(String(exit), "RunSuspended")
      yield* Go.send("r", i, { id: String(i) })
    }
    return yield* Effect.exit(execution)
  })

describe.each(backends)("a recovery in a body that is resumed four times, on $name", (backend) => {
  const setup = <E, R extends Strategy.Rewinder | Transaction.Transaction | Workflow.Run | Ledger.Ledger>(
    body: Effect.Effect<unknown, E, R>
  ) =>
    Effect.gen(function* () {
      const place = yield* backend.make
      const ledger = yield* Ledger.make
      const workflow = flow(Effect.zipRight(body, fourSignals))
      const execution = Workflow.execute(workflow, { id: "r", labels: { repository: "shop" } })
      const services = Insights.layer.pipe(
        Layer.provideMerge(place.join("10 days")),
        Layer.provideMerge(Layer.succeed(Ledger.Ledger, ledger))
      )
      return { execution, services }
    })

  it.scoped("is on record once, with run, step and labels", () =>
    Effect.gen(function* () {
      const { execution, services } = yield* setup(failing("opt").pipe(Recovery.recover({ Bad: Strategy.skip() })))
      yield* Effect.gen(function* () {
        assert.isTrue(Exit.isSuccess(yield* resumedFourTimes(execution)))
        yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
        const recoveries = yield* RecoveryManager.recoveries()
        assert.deepStrictEqual(
          recoveries.map(({ labels, run, status, step, type }) => ({ labels, run, status, step, type })),
          [{ labels: { repository: "shop" }, run: "r", status: "completed", step: "opt", type: "skip" }]
        )
        assert.deepStrictEqual((yield* Insights.statistics).byStrategy.skip, {
          successful: 1,
          total: 1,
          successRate: Option.some(1)
        })
        assert.deepStrictEqual(yield* RecoveryManager.failures(), [])
      }).pipe(Effect.provide(services))
    })
  )

  it.scoped("sleeps no past delay again, and runs its hooks and counts its metrics once", () =>
    Effect.gen(function* () {
      const hooks: Array<string> = []
      const hook = (name: string) => () => Effect.sync(() => void hooks.push(name))
      const name = `once on ${backend.name}`
      const { execution, services } = yield* setup(
        failing("a", 2).pipe(
          Recovery.recover(
            { Bad: patiently },
            { name, hooks: { onFault: hook("fault"), onDecision: hook("decision"), onOutcome: hook("outcome") } }
          )
        )
      )
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(resumedFourTimes(execution))
        // The two delays. Without more time, the run is resumed to its end.
        yield* eventually(Effect.zipRight(turns(20), TestClock.adjust("1 second")), () => hooks.at(-1) === "outcome")
        const passed = yield* Clock.currentTimeMillis
        const exit = yield* Fiber.join(fiber)
        assert.isTrue(Exit.isSuccess(exit), String(exit))
        assert.strictEqual(yield* Clock.currentTimeMillis, passed)
        assert.deepStrictEqual(hooks, ["fault", "decision", "fault", "decision", "outcome"])
        const counted = Metric.unsafeSnapshot().flatMap(({ metricKey, metricState }) =>
          metricKey.tags.some(({ key, value }) => key === "recovery" && value === name) && "count" in metricState
            ? [[metricKey.name, metricState.count]]
            : []
        )
        assert.deepStrictEqual(
          counted.sort(),
          [
            ["effect_recovery_decisions", 2],
            ["effect_recovery_faults", 2],
            ["effect_recovery_recoveries", 1]
          ].sort()
        )
      }).pipe(Effect.provide(services))
    })
  )

  it.scoped("leaves one failure on record if it is exhausted, which can be recovered", () =>
    Effect.gen(function* () {
      const { execution, services } = yield* setup(
        Effect.zipRight(fourSignals, failing("a", 1).pipe(Recovery.recover({ Bad: Strategy.retry(RetryPolicy.none) })))
      )
      yield* Effect.gen(function* () {
        assert.isTrue(Exit.isFailure(yield* resumedFourTimes(execution)))
        yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
        const failures = yield* RecoveryManager.failures()
        assert.deepStrictEqual(
          failures.map(({ labels, run, step, workflow }) => ({ labels, run, step, workflow })),
          [{ labels: { repository: "shop" }, run: "r", step: "a", workflow: "flow" }]
        )
        const [recovery, ...others] = yield* RecoveryManager.recoveries()
        assert.deepStrictEqual([recovery?.run, recovery?.status, others.length], ["r", "failed", 0])
      }).pipe(Effect.provide(services))
    })
  )
})

describe("a delay of a recovery in a body", () => {
  it.scoped("suspends the run for a worker, and is no reason to repeat what was decided", () =>
    Effect.gen(function* () {
      const seen = observer()
      const { layer } = yield* memoryProcess()
      const body = failing("a", 1).pipe(
        Recovery.recover({ Bad: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: "1 minute" })) })
      )
      const Flow = flow(body)
      yield* Effect.gen(function* () {
        yield* Workflow.start(Flow, { id: "r" })
        const summary = Effect.map(Workflow.status("r"), ({ dueAt, status, waiting }) => ({ dueAt, status, waiting }))
        const suspended = yield* eventually(summary, ({ status }) => status === "suspended")
        assert.deepStrictEqual(suspended.dueAt, Option.some(new Date(60_000)))
        assert.deepStrictEqual(
          suspended.waiting.map(({ about, kind }) => [about, kind]),
          [["retry of a", "sleep"]]
        )
        const done = yield* Effect.fork(Workflow.join(Flow, "r"))
        yield* passTime(done, "1 second")
        assert.deepStrictEqual(seen.runs, [["Again", "recovered"]])
      }).pipe(Effect.provide(Worker.layer([Flow]).pipe(Layer.provideMerge(layer), Layer.provideMerge(seen.layer))))
    })
  )

  it.scoped("keeps the run in memory while another fiber waits for a signal", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* memoryProcess()
      const body = Effect.all([Go.wait(), failing("a", 1).pipe(Recovery.recover({ Bad: patiently }))], {
        concurrency: 2
      })
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(Effect.exit(Workflow.execute(flow(body), { id: "r" })))
        const exit = yield* passTime(fiber, "1 second")
        assert.include(String(exit), "RunSuspended")
        assert.deepStrictEqual(yield* lines, ["a", "a"])
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("a recorded decision", () => {
  it.scoped("is replaced if the changed program decides otherwise, and that holds at the next resume", () =>
    Effect.gen(function* () {
      const seen = observer()
      const { layer } = yield* memoryProcess()
      const executed = (strategy: Strategy.Strategy<unknown, unknown, Strategy.Original | Strategy.Exhausted>) =>
        Workflow.execute(flow(Effect.zipRight(failing("a").pipe(Recovery.recover({ Bad: strategy })), fourSignals)), {
          id: "r"
        }).pipe(Effect.exit)
      yield* Effect.gen(function* () {
        for (const _ of [1, 2]) yield* executed(Strategy.skip("x"))
        for (const _ of [1, 2]) yield* executed(Strategy.alternate(() => Effect.succeed("y")))
        assert.deepStrictEqual(seen.runs, [["Instead", "recovered", "Instead", "recovered"]])
      }).pipe(Effect.provide(Layer.merge(layer, seen.layer)))
    })
  )

  it.scoped("is removed by a rewind to a point before it", () =>
    Effect.gen(function* () {
      const seen = observer()
      const { layer, lines } = yield* memoryProcess()
      const body = Effect.gen(function* () {
        yield* noted("first")
        yield* failing("a", 1).pipe(Recovery.recover({ Bad: Strategy.skip("") }))
        yield* noted("last")
        yield* fourSignals
      })
      yield* Effect.gen(function* () {
        const execution = Effect.exit(Workflow.execute(flow(body), { id: "r" }))
        yield* execution
        yield* Workflow.rewind(flow(body), "r", Workflow.beforeStep("last"))
        yield* execution
        assert.deepStrictEqual(yield* lines, ["first", "a", "last", "last"])
        assert.deepStrictEqual(seen.runs, [["Instead", "recovered"]])
        yield* Workflow.rewind(flow(body), "r", Workflow.beforeStep("a"))
        yield* execution
        assert.deepStrictEqual(seen.runs, [["Instead", "recovered", "Instead", "recovered"]])
      }).pipe(Effect.provide(Layer.merge(layer, seen.layer)))
    })
  )
})
