import * as TestRunner from "@effect/cluster/TestRunner"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Events, RecoveryPolicy, RetryPolicy, Step, Storage, Strategy, Worker, Workflow } from "effect-recovery"
import { ClusterWorkers } from "effect-recovery/cluster"
import { HealthCheck, Insights, Production, RecoveryManager } from "effect-recovery/operate"

class Offline extends Schema.TaggedError<Offline>()("Offline", {}) {}

/** A workflow whose step always fails, and how often it was attempted. */
const failing = () => {
  const calls = { attempts: 0 }
  const fetch = Step.make("fetch", {
    error: Offline,
    run: () =>
      Effect.suspend(() => {
        calls.attempts++
        return Effect.fail(new Offline())
      }),
    recover: { Offline: Strategy.retry() }
  })
  const Fetch = Workflow.make("fetch", { error: Offline }, () => Effect.mapError(fetch(), () => new Offline()))
  return { calls, Fetch }
}

/** Starts a run, and waits until a worker has ended it. */
const work = (Fetch: ReturnType<typeof failing>["Fetch"]) =>
  Effect.zipRight(Workflow.start(Fetch, { id: "run" }), Effect.ignore(Workflow.join(Fetch, "run")))

const atOnce = RetryPolicy.fixed({ delay: 0, maxRetries: 6 })

describe("Production.layer", () => {
  it.live("puts worker, policies, records and recoveries together so that each sees what it needs", () =>
    Effect.gen(function* () {
      const { calls, Fetch } = failing()
      const seen: Array<string> = []
      const main = Production.layer({
        storage: Storage.layerMemory,
        workflows: [Fetch],
        retry: atOnce,
        observer: (event) => Effect.sync(() => seen.push(event._tag))
      })
      yield* Effect.gen(function* () {
        yield* work(Fetch)
        assert.strictEqual(calls.attempts, 7)
        assert.include(seen, "Decided")
        yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
        const failures = yield* RecoveryManager.failures({ run: "run" })
        assert.strictEqual(failures.length, 1)
        const { health } = yield* Worker.Worker
        assert.strictEqual((yield* health).concurrency, 10)
      }).pipe(Effect.provide(main))
    })
  )

  it.live("takes the layer of a worker that a cluster places, and shows it as any other", () =>
    Effect.gen(function* () {
      const Fetch = Workflow.make("fetch", {}, () => Effect.void)
      const main = Production.layer({
        storage: Storage.layerMemory,
        workflows: [Fetch],
        worker: ClusterWorkers.layer([Fetch]).pipe(Layer.provide(TestRunner.layer))
      })
      const [health, report] = yield* Effect.gen(function* () {
        yield* Workflow.start(Fetch, { id: "placed" })
        yield* Workflow.join(Fetch, "placed")
        return [yield* Effect.flatMap(Worker.Worker, ({ health }) => health), yield* HealthCheck.run()] as const
      }).pipe(Effect.provide(main))
      assert.strictEqual(health.status, "ok")
      assert.strictEqual(Option.getOrThrow(health.shards).length, 300)
      assert.strictEqual(report.status, "ok")
    })
  )

  it.live("closes from the top, so that the last records reach the storage", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      let isOpen = false
      const storage = Layer.scoped(
        Storage.Storage,
        Effect.zipRight(
          Effect.acquireRelease(
            Effect.sync(() => {
              isOpen = true
            }),
            () =>
              Effect.sync(() => {
                isOpen = false
              })
          ),
          Storage.make(
            {
              ...store,
              write: (record, counts) =>
                isOpen ? store.write(record, counts) : Effect.dieMessage("the storage is closed")
            },
            { owner: "production" }
          )
        )
      )
      const { Fetch } = failing()
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Production.layer({ storage, workflows: [Fetch], retry: atOnce }),
        scope
      )
      yield* Effect.provide(work(Fetch), context)
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(isOpen)
      assert.strictEqual((yield* store.records({ kind: "failure" })).length, 1)
    })
  )

  it.live("provides the storage to the services, and all of it to the dashboard", () =>
    Effect.gen(function* () {
      class Mailer extends Effect.Tag("Mailer")<Mailer, { readonly owner: string }>() {}
      class Page extends Effect.Tag("Page")<Page, { readonly owner: string }>() {}
      const main = Production.layer({
        storage: Storage.layerMemory,
        workflows: [],
        worker: false,
        escalation: false,
        layer: Layer.effect(
          Mailer,
          Effect.map(Storage.Storage, ({ owner }) => ({ owner }))
        ),
        dashboard: Layer.effect(
          Page,
          Effect.zipRight(
            RecoveryManager.RecoveryManager,
            Effect.map(Mailer, ({ owner }) => ({ owner }))
          )
        )
      })
      const [page, owner] = yield* Effect.all([Page.owner, Effect.map(Storage.Storage, ({ owner }) => owner)]).pipe(
        Effect.provide(main)
      )
      assert.strictEqual(page, owner)
    })
  )
})

/** The warnings while the layer is built. */
const warningsOf = <A, E>(layer: Layer.Layer<A, E>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel._tag === "Warning") lines.push(String(message))
    })
    yield* Effect.scoped(Layer.build(layer)).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    return lines
  })

describe("a worker that does not see what stands beside it", () => {
  const { Fetch } = failing()
  const worker = Worker.layer([Fetch])
  const provided = {
    "Insights.layer": Insights.layer,
    "RetryPolicy.layer": RetryPolicy.layer(atOnce),
    "RecoveryPolicy.layer": RecoveryPolicy.layer({ otherwise: Strategy.abort })
  }
  for (const [name, layer] of Object.entries(provided)) {
    it.live(`is warned of: ${name}, whichever is built first`, () =>
      Effect.gen(function* () {
        for (const beside of [Layer.merge(worker, layer), Layer.merge(layer, worker)]) {
          const lines = yield* warningsOf(Layer.provideMerge(beside, Storage.layerMemory))
          assert.strictEqual(lines.length, 1)
          assert.include(lines[0], name)
          assert.include(lines[0], "Worker.layer")
        }
        const below = worker.pipe(Layer.provideMerge(layer), Layer.provideMerge(Storage.layerMemory))
        assert.deepStrictEqual(yield* warningsOf(below), [])
      })
    )
  }

  it.live("is not warned of what another build, or the program inside, provides", () =>
    Effect.gen(function* () {
      const alone = Layer.provideMerge(worker, Storage.layerMemory)
      assert.deepStrictEqual(yield* warningsOf(alone), [])
      assert.deepStrictEqual(yield* warningsOf(provided["RetryPolicy.layer"]), [])
      const inside = Layer.effectDiscard(Effect.provide(Effect.void, provided["RetryPolicy.layer"]))
      assert.deepStrictEqual(yield* warningsOf(Layer.provideMerge(inside, alone)), [])
      const main = Production.layer({ storage: Storage.layerMemory, workflows: [Fetch], retry: atOnce, policy: {} })
      assert.deepStrictEqual(yield* warningsOf(main), [])
      assert.deepStrictEqual(
        yield* warningsOf(
          Layer.merge(
            alone,
            Events.layer(() => Effect.void)
          )
        ),
        []
      )
    })
  )
})
