import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Signal, Step, Storage, Worker, Workflow } from "effect-recovery"
import { backends, type Place } from "../support/storages.js"
import { eventually, turns } from "../support/time.js"

const Go = Signal.make("go", Schema.Number)

/** A workflow that notes its input. */
const noting = (name: string, ran: Array<string>) =>
  Workflow.make(name, { input: Schema.String }, (input) =>
    Step.make("note", { run: Effect.sync(() => void ran.push(input)) })
  )

/** A process of its own on a store, and how it ends. */
const processOn = (store: Storage.Store, options?: Partial<Storage.Options>) =>
  Layer.scoped(Storage.Storage, Storage.make(store, { owner: `process-${++processes}`, lease: "10 days", ...options }))

let processes = 0

/** The store, with some operations changed. */
const changed = (store: Storage.Store, change: Partial<Storage.Store>): Storage.Store => ({ ...store, ...change })

const completed = (id: string) => eventually(Workflow.status(id), ({ status }) => status === "completed")

for (const backend of backends) {
  const withPlace = <A, E, R>(test: (place: Place) => Effect.Effect<A, E, R>) => Effect.flatMap(backend.make, test)

  describe(`${backend.name}: a worker claims`, () => {
    it.scoped("the runs of all its workflows at once, the longest due first, and opens none of them again", () =>
      withPlace(({ store }) =>
        Effect.gen(function* () {
          const ran: Array<string> = []
          const [one, two] = [noting("one", ran), noting("two", ran)]
          let opened = 0
          const claims: Array<number> = []
          const counting = changed(store, {
            open: (...args) => {
              opened++
              return store.open(...args)
            },
            claimDue: (...args) =>
              Effect.tap(store.claimDue(...args), (found) =>
                Effect.sync(() => {
                  if (found.length > 0) claims.push(found.length)
                })
              )
          })
          const context = yield* Layer.build(processOn(counting))
          yield* Effect.gen(function* () {
            for (const id of ["a", "b", "c", "d"]) {
              yield* Workflow.start(id < "c" ? two : one, { id, input: id })
              yield* TestClock.adjust("1 second")
            }
            yield* Layer.build(Worker.layer([one, two], { concurrency: 4 }))
            yield* Effect.forEach(["a", "b", "c", "d"], completed)
          }).pipe(Effect.provide(context))
          assert.deepStrictEqual([ran, claims, opened], [["a", "b", "c", "d"], [4], 0])
        })
      )
    )

    it.scoped("no more than it has places for, so that other workers get the rest", () =>
      withPlace(({ store }) =>
        Effect.gen(function* () {
          const gate = yield* Deferred.make<void>()
          const slow = Workflow.make("slow", {}, () => Step.make("wait", { run: Deferred.await(gate) }))
          const worker = (concurrency: number) =>
            Layer.build(Layer.provideMerge(Worker.layer([slow], { concurrency, sweep: "1 second" }), processOn(store)))
          const first = yield* worker(2)
          yield* Effect.gen(function* () {
            for (const id of ["a", "b", "c"]) yield* Workflow.start(slow, { id })
            yield* eventually(
              Effect.flatMap(Worker.Worker, ({ health }) => health),
              ({ running }) => running.length === 2
            )
            assert.strictEqual((yield* Workflow.list({ status: "running" })).length, 2)
          }).pipe(Effect.provide(first))
          const second = yield* worker(2)
          yield* Effect.gen(function* () {
            yield* eventually(Workflow.list({ status: "running" }), (runs) => runs.length === 3)
            yield* Deferred.succeed(gate, undefined)
            yield* Effect.forEach(["a", "b", "c"], completed)
          }).pipe(Effect.provide(second))
        })
      )
    )

    it.scoped("a run whose input does not fit, releases it, and executes those behind it", () =>
      withPlace(({ store }) =>
        Effect.gen(function* () {
          const texts = Workflow.make("job", { input: Schema.String }, () => Effect.void)
          const numbers = Workflow.make("job", { input: Schema.Number }, () => Effect.void)
          const context = yield* Layer.build(processOn(store))
          yield* Effect.gen(function* () {
            yield* Workflow.start(texts, { id: "text", input: "five" })
            yield* TestClock.adjust("1 second")
            yield* Workflow.start(numbers, { id: "number", input: 5 })
            const worker = yield* Effect.map(Layer.build(Worker.layer([numbers], { concurrency: 1 })), (context) =>
              Effect.provide(
                Effect.flatMap(Worker.Worker, ({ health }) => health),
                context
              )
            )
            yield* completed("number")
            const { stuck } = yield* worker
            assert.deepStrictEqual(
              stuck.map(({ run, times }) => [run, times]),
              [["text", 1]]
            )
            assert.include(stuck[0]?.reason, "JournalError")
            assert.strictEqual((yield* Workflow.status("text")).status, "stopped")
            // It is not claimed again before its backoff has passed.
            const { executions } = yield* Workflow.status("text")
            yield* TestClock.adjust("4 seconds")
            yield* turns()
            assert.strictEqual((yield* Workflow.status("text")).executions, executions)
            yield* TestClock.adjust("1 second")
            yield* eventually(worker, ({ stuck }) => stuck[0]?.times === 2)
          }).pipe(Effect.provide(context))
        })
      )
    )

    it.scoped("runs that it releases when it is closed before it executes them", () =>
      withPlace(({ store }) =>
        Effect.gen(function* () {
          const ran: Array<string> = []
          const job = noting("job", ran)
          const claimed = yield* Deferred.make<void>()
          const late = changed(store, {
            claimDue: (...args) =>
              Effect.tap(store.claimDue(...args), () =>
                Effect.zipRight(Deferred.succeed(claimed, undefined), Effect.never)
              )
          })
          const outside = yield* Layer.build(processOn(store))
          yield* Effect.provide(
            Effect.forEach(["a", "b"], (id) => Workflow.start(job, { id, input: id })),
            outside
          )
          const scope = yield* Scope.make()
          yield* Layer.buildWithScope(Layer.provideMerge(Worker.layer([job]), processOn(late)), scope)
          yield* Deferred.await(claimed)
          yield* Scope.close(scope, Exit.void)
          const runs = yield* store.list({})
          assert.deepStrictEqual(
            runs.map(({ owner, token }) => [owner, token]),
            [
              [undefined, 1],
              [undefined, 1]
            ]
          )
          assert.deepStrictEqual(ran, [])
        })
      )
    )
  })
}

describe("a worker", () => {
  it.scoped("reports a damaged run as stuck, and executes those behind it", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const job = noting("job", ran)
      const store = Storage.memoryStore()
      const damaging = changed(store, {
        claimDue: (query, ...rest) =>
          Effect.gen(function* () {
            const [bad] = query.except?.includes("bad") === true ? [] : Option.toArray(yield* store.find("bad"))
            const except = [...(query.except ?? []), "bad"]
            const limit = query.limit - (bad === undefined ? 0 : 1)
            const others = limit === 0 ? [] : yield* store.claimDue({ ...query, except, limit }, ...rest)
            const damaged = bad && ({ _tag: "Damaged", run: { ...bad, damaged: "its checksum differs" } } as const)
            return damaged === undefined ? others : [damaged, ...others]
          })
      })
      const context = yield* Layer.build(processOn(damaging, { isPrivate: true }))
      yield* Effect.gen(function* () {
        yield* Workflow.start(job, { id: "bad", input: "bad" })
        yield* Workflow.start(job, { id: "good", input: "good" })
        const worker = yield* Effect.provide(Worker.Worker, yield* Layer.build(Worker.layer([job], { concurrency: 1 })))
        yield* completed("good")
        const { stuck } = yield* worker.health
        assert.deepStrictEqual(
          stuck.map(({ reason, run, times, workflow }) => ({ reason, run, times, workflow })),
          [{ run: "bad", workflow: "job", times: 1, reason: "its checksum differs" }]
        )
        yield* TestClock.adjust("5 seconds")
        yield* eventually(worker.health, ({ stuck }) => stuck[0]?.times === 2)
      }).pipe(Effect.provide(context))
      assert.deepStrictEqual(ran, ["good"])
    })
  )

  it.scoped("looks again after the storage's clock could not be read", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const job = noting("job", ran)
      const store = Storage.memoryStore()
      let isReachable = false
      const failing = changed(store, {
        now: Effect.suspend(() =>
          isReachable ? store.now : Effect.fail(new Storage.StorageError({ reason: "Io", operation: "now" }))
        )
      })
      const context = yield* Layer.build(processOn(failing, { isPrivate: true }))
      yield* Effect.gen(function* () {
        const worker = yield* Effect.provide(Worker.Worker, yield* Layer.build(Worker.layer([job])))
        yield* Workflow.start(job, { id: "1", input: "1" })
        const error = yield* eventually(Effect.either(worker.health), ({ _tag }) => _tag === "Left")
        assert.propertyVal(error, "_tag", "Left")
        isReachable = true
        yield* TestClock.adjust("1 second")
        yield* completed("1")
      }).pipe(Effect.provide(context))
      assert.deepStrictEqual(ran, ["1"])
    })
  )

  it.scoped("and a join hear at once what other processes did", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const job = noting("job", ran)
      const store = Storage.memoryStore()
      // No time passes, so neither sweeps nor polls.
      yield* Layer.build(Layer.provideMerge(Worker.layer([job]), processOn(store)))
      const [starting, joining] = [yield* Layer.build(processOn(store)), yield* Layer.build(processOn(store))]
      yield* turns()
      yield* Effect.provide(Workflow.start(job, { id: "1", input: "1" }), starting)
      yield* Effect.provide(Workflow.join(job, "1"), joining)
      assert.deepStrictEqual(ran, ["1"])
    })
  )

  it.scoped("and a join and a wait look when the storage only knows that something changed", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const news = yield* Queue.unbounded<Storage.Change>()
      const deaf = changed(store, { changes: Stream.fromQueue(news) })
      const waiting = Workflow.make("waiting", { success: Schema.Number }, () =>
        // The sleep keeps the run in memory.
        Effect.raceFirst(Go.wait(), Effect.as(Effect.sleep("1 day"), 0))
      )
      const [here, there] = [yield* Layer.build(processOn(deaf)), yield* Layer.build(processOn(store))]
      yield* Effect.gen(function* () {
        const running = yield* Effect.fork(Workflow.execute(waiting, { id: "1" }))
        yield* eventually(Workflow.status("1"), ({ waits }) => waits.length === 1)
        const other = yield* Layer.build(processOn(deaf))
        yield* Effect.provide(Go.send("1", 7), there)
        yield* turns()
        yield* Queue.offer(news, { run: "", isDue: false })
        assert.strictEqual(yield* running, 7)
        assert.strictEqual(yield* Effect.provide(Workflow.join(waiting, "1"), other), 7)
      }).pipe(Effect.provide(here))
    })
  )
})

describe("a worker with a storage of its own", () => {
  it.scoped("takes a run again whose lease was lost with the answer, when the lease has ended", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const note = noting("note", ran)
      const store = Storage.memoryStore()
      const lost = new Storage.StorageError({ reason: "Unavailable", operation: "claiming" })
      let isLost = true
      const losing = changed(store, {
        claimDue: (...args) =>
          Effect.flatMap(store.claimDue(...args), (found) => {
            if (!isLost || found.length === 0) return Effect.succeed(found)
            isLost = false
            return lost
          }),
        release: () => lost
      })
      const process = processOn(losing, { lease: "30 seconds", isPrivate: true })
      const context = yield* Layer.build(Layer.provideMerge(Worker.layer([note]), process))
      yield* Effect.gen(function* () {
        yield* Workflow.start(note, { id: "1", input: "a" })
        yield* eventually(
          Effect.sync(() => isLost),
          (lost) => !lost
        )
        yield* turns()
        yield* TestClock.adjust("1 minute")
        yield* completed("1")
        assert.deepStrictEqual(ran, ["a"])
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("takes a run whose start was recorded, though its answer was lost", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const note = noting("note", ran)
      const store = Storage.memoryStore()
      const lost = new Storage.StorageError({ reason: "Unavailable", operation: "starting" })
      const losing = changed(store, { enqueue: (request) => Effect.zipRight(store.enqueue(request), lost) })
      const process = processOn(losing, { isPrivate: true })
      const context = yield* Layer.build(Layer.provideMerge(Worker.layer([note]), process))
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Effect.flip(Workflow.start(note, { id: "1", input: "a" })), lost)
        yield* completed("1")
        assert.deepStrictEqual(ran, ["a"])
      }).pipe(Effect.provide(context))
    })
  )
})

describe("the signals of a run", () => {
  it.scoped("are read once each by an execution, however many there are", () =>
    Effect.gen(function* () {
      const count = 200
      const ids = Array.from({ length: count }, (_, i) => `${i}`)
      const collect = Workflow.make("collect", { success: Schema.Number }, () =>
        Effect.reduce(ids, 0, (sum, id) => Effect.map(Go.wait({ id }), (value) => sum + value))
      )
      const store = Storage.memoryStore()
      const skips: Array<number> = []
      let read = 0
      const counting = changed(store, {
        signals: (key, skip = 0) =>
          Effect.tap(store.signals(key, skip), (found) =>
            Effect.sync(() => {
              skips.push(skip)
              read += found.length
            })
          )
      })
      const context = yield* Layer.build(processOn(counting))
      yield* Effect.gen(function* () {
        yield* Workflow.start(collect, { id: "1" })
        for (const id of ids.slice(0, 150)) yield* Go.send("1", 1, { id })
        const running = yield* Effect.fork(Workflow.execute(collect, { id: "1" }))
        yield* eventually(Workflow.status("1"), ({ waits }) => waits.length > 100)
        for (const id of ids.slice(150)) yield* Go.send("1", 1, { id })
        const exit = yield* Effect.exit(running)
        // It may have been suspended after its first signals; then all are read anew.
        const sum = Exit.isSuccess(exit) ? exit.value : yield* Workflow.execute(collect, { id: "1" })
        assert.strictEqual(sum, count)
      }).pipe(Effect.provide(context))
      assert.isAtMost(read, 2 * count)
      assert.isAbove(Math.max(...skips), 0)
    })
  )

  it.scoped("are judged at a time limit without suspending the run again and again, however slow the storage is", () =>
    Effect.gen(function* () {
      const waits = Workflow.make("waits", { success: Schema.Boolean }, () =>
        Effect.map(Effect.option(Go.wait({ within: "10 seconds" })), Option.isSome)
      )
      const store = Storage.memoryStore()
      const slow = changed(store, {
        now: Effect.zipRight(turns(5_000), store.now),
        signals: (...args) => Effect.zipRight(turns(10), store.signals(...args))
      })
      const context = yield* Layer.build(Layer.provideMerge(Worker.layer([waits]), processOn(slow)))
      yield* Effect.gen(function* () {
        yield* Workflow.start(waits, { id: "1" })
        yield* eventually(Workflow.status("1"), ({ status }) => status === "suspended")
        yield* TestClock.adjust("10 seconds")
        const { executions } = yield* completed("1")
        assert.strictEqual(yield* Workflow.join(waits, "1"), false)
        // Begun, and resumed at the end of its time.
        assert.strictEqual(executions, 2)
      }).pipe(Effect.provide(context))
    })
  )
})
