import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Answer, Queue, RetryPolicy, Signal, Step, Storage, Strategy, Worker, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { a, flow, memoryProcess } from "../support/durable.js"
import { backends } from "../support/storages.js"
import { eventually, turns } from "../support/time.js"

class Flaky extends Schema.TaggedError<Flaky>()("Flaky", {}) {}

const Go = Signal.make("go", Schema.Number)

const until = <E, R>(condition: Effect.Effect<boolean, E, R>) => eventually(condition, (isTrue) => isTrue)

for (const backend of backends) {
  const setup = Effect.gen(function* () {
    const place = yield* backend.make
    const ledger = yield* Ledger.make
    const base = Layer.merge(Layer.succeed(Ledger.Ledger, ledger), RetryPolicy.layer(RetryPolicy.none))
    /** A process with a worker. */
    const process = <W extends ReadonlyArray<Workflow.Workflow<never, unknown, unknown, Ledger.Ledger>>>(
      workflows: W,
      options?: Worker.Options
    ) => Worker.layer(workflows, options).pipe(Layer.provideMerge(place.join("10 days")), Layer.provideMerge(base))
    const lines = Effect.map(ledger.lines, (all) => all.map(({ effect }) => effect))
    return { place, process, lines, outside: Layer.merge(place.join("10 days"), base) }
  })

  describe(`${backend.name}: a worker`, () => {
    it.scoped("claims started runs oldest first, and respects its concurrency", () =>
      Effect.gen(function* () {
        const { lines, process } = yield* setup
        let running = 0
        let most = 0
        const work = Step.make("work", {
          run: (name: string) =>
            Effect.gen(function* () {
              most = Math.max(most, ++running)
              yield* Ledger.done(name)
              yield* turns(3)
              running--
            })
        })
        const Job = Workflow.make("job", { input: Schema.String }, (name) => work(name))
        yield* Effect.gen(function* () {
          const names = Array.from({ length: 20 }, (_, i) => `job-${i}`)
          yield* Effect.forEach(names, (name) =>
            Effect.zipRight(TestClock.adjust("1 second"), Workflow.start(Job, { id: name, input: name }))
          )
          yield* Effect.forEach(names, (name) => Workflow.join(Job, name), { concurrency: "unbounded" })
          assert.deepStrictEqual(yield* lines, names)
          assert.isAtMost(most, 3)
          // Started again, a finished run does not run again.
          yield* Workflow.start(Job, { id: "job-0", input: "job-0" })
          assert.strictEqual((yield* lines).length, 20)
        }).pipe(Effect.provide(process([Job], { concurrency: 3 })))
      })
    )

    it.scoped("resumes after a signal, an answer, a sleep and a backoff, also from another process", () =>
      Effect.gen(function* () {
        const { lines, outside, process } = yield* setup
        const Flow = Workflow.make("flow", { success: Schema.Number, error: Flaky }, () =>
          Effect.gen(function* () {
            const number = yield* Go.wait()
            yield* Workflow.sleep("1 hour")
            yield* Step.make("flaky", {
              error: Flaky,
              run: (_: undefined, { number: attempt }) =>
                Effect.zipRight(Ledger.done(`flaky ${attempt}`), attempt < 3 ? Effect.fail(new Flaky()) : Effect.void),
              retry: RetryPolicy.fixed({ maxRetries: 2, delay: "30 minutes", jitter: "none" })
            })(undefined)
            return yield* Step.make("asked", {
              success: Schema.Number,
              error: Flaky,
              run: Effect.fail(new Flaky()),
              recover: { Flaky: Strategy.manual("how many?") }
            }).pipe(Effect.map((answer) => answer + number))
          })
        )
        yield* Effect.gen(function* () {
          const suspended = (n: number) =>
            until(Effect.map(Workflow.list({ status: "suspended" }), (runs) => runs.length === n))
          const worker = yield* Worker.Worker
          yield* Workflow.start(Flow, { id: "1" })
          yield* suspended(1)
          yield* Effect.provide(Go.send("1", 30), outside)
          yield* TestClock.adjust("1 minute")
          yield* until(Effect.map(Workflow.status("1"), ({ waits }) => waits.length === 2))
          yield* suspended(1)
          assert.strictEqual((yield* worker.health).running.length, 0)
          yield* TestClock.adjust("1 hour")
          yield* until(Effect.map(lines, (all) => all.includes("flaky 1")))
          yield* suspended(1)
          yield* TestClock.adjust("30 minutes")
          yield* until(Effect.map(lines, (all) => all.includes("flaky 2")))
          yield* suspended(1)
          yield* TestClock.adjust("30 minutes")
          yield* until(
            Effect.map(Workflow.list({ status: "suspended" }), (runs) => runs[0]?.waiting[0]?.about === "how many?")
          )
          yield* Effect.provide(Workflow.resolve("1", Answer.json(12)), outside)
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(yield* Workflow.join(Flow, "1"), 42)
          assert.deepStrictEqual(yield* lines, ["flaky 1", "flaky 2", "flaky 3"])
        }).pipe(Effect.provide(process([Flow], { sweep: "1 minute" })))
      })
    )

    it.scoped("leaves runs of unknown workflows and versions, and reports them", () =>
      Effect.gen(function* () {
        const { process } = yield* setup
        const other = Workflow.make("other", {}, () => Effect.void)
        const known = Workflow.make("known", {}, () => Effect.void)
        const newer = Workflow.make("known", { version: "2" }, () => Effect.void)
        yield* Effect.gen(function* () {
          yield* Workflow.start(other, { id: "a" })
          yield* Workflow.start(newer, { id: "b" })
          yield* Workflow.start(known, { id: "c" })
          yield* Workflow.join(known, "c")
          const health = yield* Effect.flatMap(Worker.Worker, (worker) => worker.health)
          assert.deepStrictEqual(
            [...health.unclaimed].sort((x, y) => (x.workflow < y.workflow ? 1 : -1)),
            [
              { workflow: "other", version: "1", runs: 1 },
              { workflow: "known", version: "2", runs: 1 }
            ]
          )
          assert.strictEqual(health.status, "ok")
          assert.strictEqual((yield* Workflow.status("b")).status, "stopped")
        }).pipe(Effect.provide(process([known])))
        yield* Workflow.join(newer, "b").pipe(Effect.provide(process([known, newer])))
      })
    )

    it.scoped("two workflows of one name and version are refused", () =>
      Effect.gen(function* () {
        const { process } = yield* setup
        const one = Workflow.make("one", {}, () => Effect.void)
        const error = yield* Effect.flip(
          Effect.scoped(Layer.build(process([one, Workflow.make("one", {}, () => Effect.void)])))
        )
        assert.propertyVal(error, "_tag", "DuplicateWorkflow")
      })
    )

    it.scoped("backs off a run that dies, longer each time, and reports it as stuck", () =>
      Effect.gen(function* () {
        const { process } = yield* setup
        const warnings: Array<unknown> = []
        const logger = Logger.make(
          ({ logLevel, message }) => void (logLevel.label === "WARN" && warnings.push(...[message].flat()))
        )
        let times = 0
        let broken = true
        const Bug = Workflow.make("bug", {}, () =>
          Effect.suspend(() => {
            times++
            return broken ? Effect.die(new Error("a bug")) : Effect.void
          })
        )
        yield* Effect.gen(function* () {
          const worker = yield* Worker.Worker
          yield* Workflow.start(Bug, { id: "1" })
          yield* until(Effect.map(worker.health, ({ stuck }) => stuck.length === 1))
          assert.strictEqual(times, 1)
          assert.deepStrictEqual(warnings, [])
          yield* TestClock.adjust("5 seconds")
          yield* until(Effect.map(worker.health, ({ stuck }) => stuck[0]?.times === 2))
          yield* until(Effect.sync(() => warnings.length > 0))
          assert.deepStrictEqual(warnings, [
            'Run "1" of workflow "bug" has stopped 2 times without an outcome: Error: a bug. The worker tries again in 10s.'
          ])
          yield* TestClock.adjust("9 seconds")
          yield* turns()
          assert.strictEqual(times, 2)
          assert.include((yield* worker.health).stuck[0]?.reason, "a bug")
          broken = false
          yield* TestClock.adjust("2 seconds")
          yield* Workflow.join(Bug, "1")
          assert.strictEqual(times, 3)
          assert.deepStrictEqual((yield* worker.health).stuck, [])
        }).pipe(Effect.provide(Layer.provide(process([Bug]), Logger.replace(Logger.defaultLogger, logger))))
      })
    )

    it.scoped("when closed it completes running steps, starts no others and releases its runs", () =>
      Effect.gen(function* () {
        const { lines, outside, process } = yield* setup
        const gate = yield* Deferred.make<void>()
        const Flow = Workflow.make("flow", {}, () =>
          Effect.gen(function* () {
            yield* Step.make("first", { run: Effect.zipRight(Ledger.done("first"), Deferred.await(gate)) })
            yield* Step.make("second", { run: Ledger.done("second") })
          })
        )
        const worker = yield* Effect.forkScoped(Layer.launch(process([Flow])))
        yield* Effect.provide(Workflow.start(Flow, { id: "1" }), outside)
        yield* TestClock.adjust("1 second")
        yield* until(Effect.map(lines, (all) => all.length === 1))
        const closing = yield* Effect.fork(Fiber.interrupt(worker))
        yield* turns()
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(closing)
        const status = yield* Effect.provide(Workflow.status("1"), outside)
        assert.deepStrictEqual(
          status.steps.map(({ key, status }) => [key, status]),
          [["first", "completed"]]
        )
        assert.strictEqual(status.status, "stopped")
        yield* Effect.provide(Workflow.join(Flow, "1"), process([Flow]))
        assert.deepStrictEqual(yield* lines, ["first", "second"])
      })
    )

    it.scoped("is not stalled by a long queue while its runs progress", () =>
      Effect.gen(function* () {
        const { process } = yield* setup
        const minute = Step.make("minute", { run: Effect.sleep("50 seconds") })
        const Long = Workflow.make("long", {}, () => Effect.repeatN(minute, 2))
        yield* Effect.gen(function* () {
          const worker = yield* Worker.Worker
          yield* Effect.forEach(["1", "2", "3", "4", "5"], (id) => Workflow.start(Long, { id }))
          yield* until(Effect.map(worker.health, ({ running }) => running.length === 1))
          for (let i = 0; i < 10; i++) {
            yield* TestClock.adjust("50 seconds")
            yield* turns()
            assert.strictEqual((yield* worker.health).status, "ok", `after ${(i + 1) * 50} seconds`)
          }
          const { due, oldestDue } = yield* worker.health
          assert.isAbove(due, 0)
          assert.isAtLeast(Duration.toMillis(Option.getOrThrow(oldestDue)), 499_000)
        }).pipe(Effect.provide(process([Long], { concurrency: 1, drain: 0 })))
      })
    )

    it.scoped("reports stalled while a run is overdue and nothing progresses", () =>
      Effect.gen(function* () {
        const { process } = yield* setup
        const gate = yield* Deferred.make<void>()
        const Slow = Workflow.make("slow", {}, () => Step.make("wait", { run: Deferred.await(gate) }))
        yield* Effect.gen(function* () {
          const worker = yield* Worker.Worker
          yield* Workflow.start(Slow, { id: "1" })
          yield* Workflow.start(Slow, { id: "2" })
          yield* until(Effect.map(worker.health, ({ running }) => running.length === 1))
          assert.strictEqual((yield* worker.health).status, "ok")
          yield* TestClock.adjust("2 minutes")
          yield* turns()
          const health = yield* worker.health
          assert.strictEqual(health.status, "stalled")
          assert.isAtLeast(Duration.toMillis(Option.getOrThrow(health.oldestDue)), 119_000)
          yield* Deferred.succeed(gate, undefined)
          yield* Workflow.join(Slow, "2")
          assert.strictEqual((yield* worker.health).status, "ok")
        }).pipe(Effect.provide(process([Slow], { concurrency: 1 })))
      })
    )
  })
}

describe("a worker in memory", () => {
  it.scoped("says at its start what it works on", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${message}`))
      const Video = Queue.make("video", { concurrency: 2 })
      const flows = [
        Workflow.make("order", {}, () => Effect.void),
        Workflow.make("bill", { version: "2" }, () => Effect.void)
      ]
      const layers = [Worker.layer(flows, { concurrency: 1 }), Worker.layer(flows.slice(1), { queues: [Video] })].map(
        (layer) => Layer.provide(layer, Storage.layerMemory)
      )
      for (const layer of layers) {
        yield* Effect.scoped(Layer.build(layer)).pipe(Effect.provide(Logger.add(logger)))
      }
      assert.deepStrictEqual(lines, [
        "INFO Worker starts: workflows order (version 1), bill (version 2); at most 1 run at once",
        "INFO Worker starts: workflow bill (version 2); queue video; at most 10 runs at once"
      ])
    })
  )

  const stops: ReadonlyArray<
    readonly [stop: string, error: (lease: Storage.Lease) => Storage.StorageError | Storage.LeaseLost]
  > = [
    ["a lost lease", ({ run, token }) => new Storage.LeaseLost({ run, token })],
    ["a busy storage", () => new Storage.StorageError({ reason: "Busy", operation: "Appending to the journal" })],
    [
      "a server that restarts",
      () => new Storage.StorageError({ reason: "Unavailable", operation: "Appending to the journal" })
    ],
    ["a closed storage", () => new Storage.StorageError({ reason: "Closed", operation: "Appending to the journal" })]
  ]
  it.scoped.each(stops)("does not count or put off a run because of %s", ([, error]) =>
    Effect.gen(function* () {
      let left = 3
      const seen: Array<unknown> = []
      const { layer, lines } = yield* memoryProcess((store) => ({
        ...store,
        append: (lease, entries) => (left-- > 0 ? Effect.fail(error(lease)) : store.append(lease, entries))
      }))
      const Flow = flow(a)
      yield* Effect.gen(function* () {
        const worker = yield* Worker.Worker
        yield* Workflow.start(Flow, { id: "1" })
        // No time passes, so a run that was put off would never be taken again.
        yield* eventually(
          Effect.tap(worker.health, ({ stuck }) => Effect.sync(() => seen.push(...stuck))),
          () => left < 0
        )
        yield* eventually(Workflow.status("1"), ({ status }) => status === "completed")
        assert.deepStrictEqual(seen, [])
        assert.deepStrictEqual(yield* lines, ["a"])
      }).pipe(Effect.provide(Layer.provideMerge(Worker.layer([Flow]), layer)))
    })
  )

  it.scoped("does not report a run as stuck that another caller has ended", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      let broken = true
      const bug = flow(Effect.suspend(() => (broken ? Effect.die("a bug") : Effect.void)))
      yield* Effect.gen(function* () {
        const worker = yield* Worker.Worker
        yield* Workflow.start(bug, { id: "1" })
        yield* eventually(worker.health, ({ stuck }) => stuck.length === 1)
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

  it.scoped("tells its health at the same cost however many runs are stuck, and forgets all that end elsewhere", () =>
    Effect.gen(function* () {
      let finds = 0
      const { layer } = yield* memoryProcess((store) => ({
        ...store,
        find: (id) => {
          finds++
          return store.find(id)
        }
      }))
      let broken = true
      const bug = flow(Effect.suspend(() => (broken ? Effect.die("a bug") : Effect.void)))
      const ids = Array.from({ length: 50 }, (_, i) => String(i))
      yield* Effect.gen(function* () {
        const worker = yield* Worker.Worker
        yield* Effect.forEach(ids, (id) => Workflow.start(bug, { id }), { discard: true })
        yield* eventually(worker.health, ({ stuck }) => stuck.length === ids.length)
        finds = 0
        assert.strictEqual((yield* worker.health).stuck.length, ids.length)
        assert.isAtMost(finds, 20)
        broken = false
        yield* Effect.forEach(ids, (id) => Workflow.execute(bug, { id }), { discard: true })
        for (let i = 0; i < 4; i++) yield* worker.health
        assert.deepStrictEqual((yield* worker.health).stuck, [])
      }).pipe(Effect.provide(Layer.provideMerge(Worker.layer([bug]), layer)))
    })
  )

  it.scoped("backs off a run that interrupts itself", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
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
        yield* eventually(worker.health, ({ stuck }) => stuck.length === 1)
        for (let i = 0; i < 12; i++) {
          yield* TestClock.adjust("5 seconds")
          yield* turns(5)
        }
        // After 5, 10 and 20 seconds.
        assert.strictEqual(times, 4)
      }).pipe(Effect.provide(Layer.provideMerge(Worker.layer([self]), layer)))
    })
  )

  /** A worker over a storage that only its process changes. */
  const privately = (
    change: (store: Storage.Store) => Partial<Storage.Store>,
    flow: Workflow.Workflow<undefined, void, never, never>
  ) => {
    const store = Storage.memoryStore()
    const service = Storage.make({ ...store, ...change(store) }, { owner: "test", isPrivate: true })
    return Layer.provideMerge(Worker.layer([flow], { patience: 0 }), Layer.scoped(Storage.Storage, service))
  }
  const Napper = Workflow.make("napper", {}, () => Workflow.sleep("10 millis"))

  it.scoped("does not miss a run that becomes due while it looks for due runs", () =>
    Effect.gen(function* () {
      const slowly = (store: Storage.Store) => ({
        claimDue: (...args: Parameters<Storage.Store["claimDue"]>) =>
          Effect.zipLeft(store.claimDue(...args), TestClock.adjust("20 millis"))
      })
      yield* Effect.gen(function* () {
        yield* Workflow.start(Napper, { id: "1" })
        yield* eventually(Workflow.status("1"), ({ status }) => status === "completed")
      }).pipe(Effect.provide(privately(slowly, Napper)))
    })
  )

  it.scoped("does not look while nothing can be due", () =>
    Effect.gen(function* () {
      let looks = 0
      const counted = (store: Storage.Store) => ({
        claimDue: (...args: Parameters<Storage.Store["claimDue"]>) =>
          Effect.suspend(() => {
            looks++
            return store.claimDue(...args)
          })
      })
      yield* Effect.gen(function* () {
        yield* Workflow.start(Napper, { id: "1" })
        yield* turns(100)
        yield* TestClock.adjust("1 second")
        yield* Workflow.join(Napper, "1")
        yield* turns(100)
        const before = looks
        yield* TestClock.adjust("30 days")
        assert.strictEqual(looks, before)
      }).pipe(Effect.provide(privately(counted, Napper)))
    })
  )

  it.scoped("looks again after the storage could not be reached", () =>
    Effect.gen(function* () {
      let isReachable = false
      const flaky = (store: Storage.Store) => ({
        claimDue: (...args: Parameters<Storage.Store["claimDue"]>) =>
          Effect.suspend(() =>
            isReachable
              ? store.claimDue(...args)
              : Effect.fail(new Storage.StorageError({ reason: "Io", operation: "claimDue" }))
          )
      })
      yield* Effect.gen(function* () {
        const worker = yield* Worker.Worker
        yield* Workflow.start(Napper, { id: "1" })
        yield* eventually(worker.health, ({ trouble }) => Option.isSome(trouble))
        isReachable = true
        yield* TestClock.adjust("1 minute")
        yield* eventually(Workflow.status("1"), ({ status }) => status === "suspended" || status === "completed")
      }).pipe(Effect.provide(privately(flaky, Napper)))
    })
  )
})

describe("a worker that is the first to execute a run", () => {
  it.scoped("reads no journal, and the one of a run that was executed before", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const read: Array<number> = []
      const noted: Storage.Store = {
        ...store,
        journal: (...args) =>
          Effect.zipRight(
            Effect.sync(() => void read.push(args[0])),
            store.journal(...args)
          )
      }
      const storage = Layer.scoped(Storage.Storage, Storage.make(noted, { owner: "process-1" }))
      let begun = 0
      const Job = Workflow.make("job", { input: Schema.Boolean }, (dies) =>
        Step.make("work", {
          run: Effect.suspend(() => {
            begun++
            return dies && read.length === 0 ? Effect.die("a bug") : Effect.void
          })
        })
      )
      yield* Effect.gen(function* () {
        for (const id of ["a", "b", "c"]) yield* Workflow.start(Job, { id, input: id === "c" })
        const completed = Effect.map(store.countRuns, (counts) =>
          counts.reduce((all, { runs, status }) => (status === "completed" ? all + runs : all), 0)
        )
        yield* until(Effect.map(completed, (runs) => runs === 2 && begun === 3))
        assert.deepStrictEqual(read, [])
        yield* until(
          Effect.zipRight(
            TestClock.adjust("1 minute"),
            Effect.map(completed, (runs) => runs === 3)
          )
        )
        assert.isAtLeast(read.length, 1)
        assert.deepStrictEqual([...new Set(read)], [read[0]])
      }).pipe(Effect.provide(Worker.layer([Job]).pipe(Layer.provideMerge(storage))))
    })
  )
})
