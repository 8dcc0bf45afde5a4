import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Queue, Signal, Step, Storage, Worker, Workflow } from "effect-recovery"
import { backends, type Place } from "../support/storages.js"
import { eventually, turns } from "../support/time.js"

/** A workflow whose runs last until they are ended, and those that run now, in the order of their starts. */
const gated = () => {
  const gates = new Map<string, Deferred.Deferred<void>>()
  const running: Array<string> = []
  const begun: Array<string> = []
  const workflow = Workflow.make("job", { input: Schema.String }, (id) =>
    Step.make("work", {
      run: Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        gates.set(id, gate)
        running.push(id)
        begun.push(id)
        yield* Deferred.await(gate)
        running.splice(running.indexOf(id), 1)
      })
    })
  )
  const end = (id: string) =>
    Effect.zipRight(
      Effect.suspend(() => Deferred.succeed(gates.get(id) as Deferred.Deferred<void>, undefined)),
      turns()
    )
  return { workflow, running, begun, end }
}

type Job = ReturnType<typeof gated>["workflow"]

const start = (
  job: Job,
  queue: Queue.Queue,
  ids: ReadonlyArray<string>,
  place: { key?: string; priority?: number } = {}
) => Effect.forEach(ids, (id) => Workflow.start(job, { id, input: id, queue, ...place }), { discard: true })

const health = Effect.flatMap(Worker.Worker, ({ health }) => health)

/** A process with a worker. */
const worker = (place: Place, job: Job, queues: ReadonlyArray<Queue.Queue>, concurrency = 10) =>
  Layer.build(Layer.provideMerge(Worker.layer([job], { queues, concurrency, drain: 0 }), place.join("10 days")))

/** A second passes, after which all workers have looked for runs. */
const second = Effect.zipRight(TestClock.adjust("1 second"), turns())

for (const backend of backends) {
  const withPlace = <A, E, R>(test: (place: Place) => Effect.Effect<A, E, R>) => Effect.flatMap(backend.make, test)

  describe(`${backend.name}: a queue`, () => {
    it.scoped("has no more runs at once than its limit, over all processes, and fills each free place", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { begun, end, running, workflow } = gated()
          const encode = Queue.make("encode", { concurrency: 3 })
          const first = yield* worker(place, workflow, [encode])
          yield* worker(place, workflow, [encode], 2)
          const ids = ["a", "b", "c", "d", "e", "f", "g"]
          yield* Effect.provide(start(workflow, encode, ids), first)
          yield* second
          for (const [i, id] of ids.entries()) {
            assert.deepStrictEqual([...running].sort(), ids.slice(i, i + 3))
            yield* end(id)
            yield* second
          }
          assert.deepStrictEqual([[...begun].sort(), running], [ids, []])
        })
      )
    )

    it.scoped("has no more runs of one key at once than its limit by key", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { end, running, workflow } = gated()
          const encode = Queue.make("encode", { perKey: 1 })
          yield* Effect.gen(function* () {
            yield* start(workflow, encode, ["a1", "a2"], { key: "a" })
            yield* start(workflow, encode, ["b1"], { key: "b" })
            yield* start(workflow, encode, ["none1", "none2"])
            yield* second
            assert.deepStrictEqual([...running].sort(), ["a1", "b1", "none1"])
            yield* end("a1")
            assert.deepStrictEqual([...running].sort(), ["a2", "b1", "none1"])
          }).pipe(Effect.provide(yield* worker(place, workflow, [encode])))
        })
      )
    )

    it.scoped("starts runs of a higher priority first, then those of the key that started longest ago", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { begun, end, workflow } = gated()
          const encode = Queue.make("encode", { concurrency: 1 })
          yield* Effect.gen(function* () {
            yield* start(workflow, encode, ["first"])
            yield* second
            yield* start(workflow, encode, ["a1", "a2", "a3"], { key: "a" })
            yield* TestClock.adjust(10)
            yield* start(workflow, encode, ["b1"], { key: "b" })
            yield* TestClock.adjust(10)
            yield* start(workflow, encode, ["low"], { key: "c", priority: -1 })
            yield* start(workflow, encode, ["high"], { key: "a", priority: 1 })
            for (const id of ["first", "high", "b1", "a1", "a2", "a3", "low"]) {
              yield* second
              assert.strictEqual(begun.at(-1), id)
              yield* end(id)
            }
          }).pipe(Effect.provide(yield* worker(place, workflow, [encode])))
        })
      )
    )

    it.scoped("that is full keeps its worker from no other run", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { running, workflow } = gated()
          const [one, two] = [Queue.make("one", { concurrency: 1 }), Queue.make("two", { concurrency: 2 })]
          yield* Effect.gen(function* () {
            yield* start(workflow, one, ["1a", "1b", "1c", "1d"])
            yield* second
            yield* start(workflow, two, ["2a", "2b", "2c"])
            yield* Workflow.start(workflow, { id: "free", input: "free" })
            yield* second
            assert.deepStrictEqual([...running].sort(), ["1a", "2a", "2b", "free"])
          }).pipe(Effect.provide(yield* worker(place, workflow, [one, two], 4)))
        })
      )
    )

    it.scoped("starts no more runs within a period than its rate, and the next one when it may", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { begun, workflow } = gated()
          const mail = Queue.make("mail", { rate: { limit: 2, per: "10 seconds" } })
          yield* Effect.gen(function* () {
            yield* start(workflow, mail, ["a"])
            yield* TestClock.adjust("4 seconds")
            yield* turns()
            yield* start(workflow, mail, ["b", "c", "d", "e"])
            yield* turns()
            assert.deepStrictEqual(begun, ["a", "b"])
            yield* Effect.repeatN(second, 4)
            assert.deepStrictEqual(begun, ["a", "b"])
            yield* second
            assert.deepStrictEqual(begun, ["a", "b", "c"])
            yield* Effect.repeatN(second, 3)
            assert.deepStrictEqual(begun, ["a", "b", "c", "d"])
            yield* Effect.repeatN(second, 5)
            assert.deepStrictEqual(begun, ["a", "b", "c", "d", "e"])
          }).pipe(Effect.provide(yield* worker(place, workflow, [mail])))
        })
      )
    )

    it.scoped("counts the rate of each key for itself if it is by key", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { begun, workflow } = gated()
          const mail = Queue.make("mail", { rate: { limit: 1, per: "10 seconds", perKey: true } })
          yield* Effect.gen(function* () {
            yield* start(workflow, mail, ["a1", "a2"], { key: "a" })
            yield* start(workflow, mail, ["b1"], { key: "b" })
            yield* second
            assert.deepStrictEqual([...begun].sort(), ["a1", "b1"])
            yield* Effect.repeatN(second, 9)
            assert.deepStrictEqual([...begun].sort(), ["a1", "a2", "b1"])
          }).pipe(Effect.provide(yield* worker(place, workflow, [mail])))
        })
      )
    )

    it.scoped("gives the place of a run that waits to the next one", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const go = Signal.make("go", Schema.Number)
          const ended: Array<string> = []
          const asking = Workflow.make("asking", { input: Schema.String }, (id) =>
            Effect.zipRight(
              go.wait(),
              Effect.sync(() => void ended.push(id))
            )
          )
          const one = Queue.make("one", { concurrency: 1 })
          const layer = Layer.provideMerge(Worker.layer([asking], { queues: [one], drain: 0 }), place.join("10 days"))
          yield* Effect.gen(function* () {
            for (const id of ["a", "b"]) yield* Workflow.start(asking, { id, input: id, queue: one })
            yield* Effect.repeatN(second, 2)
            assert.deepStrictEqual(
              (yield* Workflow.list({ status: "suspended" })).map(({ id }) => id),
              ["b", "a"]
            )
            yield* go.send("b", 1)
            yield* go.send("a", 1)
            yield* eventually(
              Effect.zipRight(
                second,
                Effect.sync(() => ended.length)
              ),
              (count) => count === 2
            )
          }).pipe(Effect.provide(yield* Layer.build(layer)))
        })
      )
    )

    it.scoped("leaves its runs to the workers that have it, and the others say so", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { running, workflow } = gated()
          const encode = Queue.make("encode", { concurrency: 1 })
          const without = yield* worker(place, workflow, [])
          yield* Effect.provide(start(workflow, encode, ["a", "b"]), without)
          yield* TestClock.adjust("2 minutes")
          yield* turns()
          const { queues, status } = yield* Effect.provide(health, without)
          const age = queues.map(({ oldestDue, ...queue }) => ({ ...queue, age: Option.map(oldestDue, String) }))
          assert.deepStrictEqual(
            [age, status, running],
            [
              [{ queue: "encode", isTaken: false, running: 0, due: 2, waiting: 0, age: Option.some("Duration(2m)") }],
              "ok",
              []
            ]
          )
          const taking = yield* worker(place, workflow, [encode])
          yield* second
          const [taken] = (yield* Effect.provide(health, taking)).queues
          assert.deepInclude(taken, { queue: "encode", isTaken: true, running: 1, due: 1, waiting: 0 })
        })
      )
    )
  })

  describe(`${backend.name}: a run that is started`, () => {
    it.scoped("with a delay is taken when it has passed", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { running, workflow } = gated()
          yield* Effect.gen(function* () {
            yield* Workflow.start(workflow, { id: "later", input: "later", delay: "1 minute" })
            yield* TestClock.adjust("59 seconds")
            yield* turns()
            assert.deepStrictEqual(running, [])
            yield* second
            assert.deepStrictEqual(running, ["later"])
          }).pipe(Effect.provide(yield* worker(place, workflow, [])))
        })
      )
    )

    it.scoped("with a debounce has the last input, and waits since the last start", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { begun, workflow } = gated()
          const save = (input: string) => Workflow.start(workflow, { id: "save", input, debounce: "5 seconds" })
          yield* Effect.gen(function* () {
            for (const input of ["one", "two", "three"]) {
              yield* save(input)
              yield* Effect.repeatN(second, 3)
            }
            assert.deepStrictEqual(begun, [])
            yield* second
            assert.deepStrictEqual(begun, ["three"])
            // A worker has it, so that its input is what it is.
            yield* save("three")
            const refused = yield* Effect.either(save("four"))
            assert.deepInclude(Option.getOrThrow(Either.getLeft(refused)), { _tag: "RunMismatch", field: "input" })
          }).pipe(Effect.provide(yield* worker(place, workflow, [])))
        })
      )
    )

    it.scoped("again is the run that it was: the first start counts", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { begun, workflow } = gated()
          const [one, two] = [Queue.make("one"), Queue.make("two")]
          yield* Effect.gen(function* () {
            yield* Workflow.start(workflow, { id: "a", input: "a", queue: one, key: "first", priority: 3 })
            yield* Workflow.start(workflow, { id: "a", input: "a", queue: two, delay: "1 hour" })
            const { find } = yield* Storage.Storage
            const { dueAt, queue } = Option.getOrThrow(yield* find("a"))
            assert.deepStrictEqual([queue, dueAt], [{ name: "one", key: "first", priority: 3 }, 0])
            yield* second
            assert.deepStrictEqual(begun, ["a"])
          }).pipe(Effect.provide(yield* worker(place, workflow, [one, two])))
        })
      )
    )

    it.scoped("in a queue is not executed beside its limits, and can be waited for", () =>
      withPlace((place) =>
        Effect.gen(function* () {
          const { end, workflow } = gated()
          const one = Queue.make("one", { concurrency: 1 })
          yield* Effect.gen(function* () {
            yield* start(workflow, one, ["a", "b"])
            yield* second
            const refused = yield* Effect.flip(Workflow.execute(workflow, { id: "b", input: "b" }))
            assert.deepInclude(refused, { _tag: "RunQueued", run: "b", queue: "one" })
            yield* end("a")
            yield* second
            yield* end("b")
            yield* Workflow.join(workflow, "b")
          }).pipe(Effect.provide(yield* worker(place, workflow, [one])))
        })
      )
    )
  })
}

describe("a worker", () => {
  const { workflow } = gated()
  const built = (queues: ReadonlyArray<Queue.Queue>) =>
    Effect.exit(Layer.build(Layer.provide(Worker.layer([workflow], { queues }), Storage.layerMemory)))

  it.scoped("refuses one queue with two limits, and takes the same one twice", () =>
    Effect.gen(function* () {
      const refused = yield* built([Queue.make("one", { concurrency: 1 }), Queue.make("one", { concurrency: 2 })])
      assert.deepStrictEqual(refused, Exit.fail(new Worker.DuplicateQueue({ queue: "one" })))
      const same = () => Queue.make("one", { concurrency: 1, rate: { limit: 1, per: "1 minute" } })
      assert.isTrue(Exit.isSuccess(yield* built([same(), same()])))
    })
  )
})

describe("the name of a queue and a key", () => {
  it.effect("are refused if a database would change them", () =>
    Effect.gen(function* () {
      assert.throws(() => Queue.make(""), /queue/)
      const { workflow } = gated()
      const queue = Queue.make("one")
      const refused = yield* Effect.flip(Workflow.start(workflow, { id: "a", input: "a", queue, key: "a\0b" }))
      assert.deepInclude(refused, { _tag: "InvalidName", reason: "Nul" })
    }).pipe(Effect.provide(Storage.layerMemory))
  )
})
