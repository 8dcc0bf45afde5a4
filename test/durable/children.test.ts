import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Queue, Step, Storage, Worker, Workflow } from "effect-recovery"
import { assertTagged } from "../support/assertions.js"
import { a, Bad, b, builtProcess, Go, noted } from "../support/durable.js"
import { inEveryStorage } from "../support/everyStorage.js"
import { backends } from "../support/storages.js"
import { eventually, passTime, turns } from "../support/time.js"

const Parcel = Schema.Struct({ items: Schema.Array(Schema.String), sentAt: Schema.DateFromNumber })

const Ship = Workflow.make("ship", { input: Schema.Array(Schema.String), success: Parcel, error: Bad }, (items) =>
  Effect.gen(function* () {
    yield* noted("pack")
    if (items.length === 0) return yield* new Bad()
    return { items, sentAt: new Date(0) }
  })
)

const Sleeps = Workflow.make("sleeps", { input: Schema.String, success: Schema.String }, (name) =>
  Effect.zipRight(Workflow.sleep("30 seconds"), noted(name))
)

const Asks = Workflow.make("asks", { success: Schema.Number }, () => Effect.zipLeft(Go.wait(), noted("heard")))

const Mail = Workflow.make("mail", { input: Schema.String }, (to) => Effect.asVoid(noted(`mail ${to}`)))

const parentOf = <A, R>(
  body: Effect.Effect<A, Workflow.Failure<Bad> | Workflow.RunError, R>,
  success: Schema.Schema<A> = Schema.Unknown as never
) => Workflow.make("parent", { success, error: Bad }, () => body)

const statusOf = (id: string) => Effect.map(Workflow.status(id), ({ status }) => status)

const lengthOf = (id: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const found = yield* storage.find(id)
    return Option.isNone(found) ? 0 : (yield* storage.journal(found.value.key)).length
  })

inEveryStorage("a child run", (backend) => {
  it.scoped("is executed by its parent, which gets its result as its schema decodes it", () =>
    Effect.gen(function* () {
      const { layer, story } = yield* builtProcess(backend)
      const parent = parentOf(
        Effect.gen(function* () {
          yield* a
          const parcel = yield* Workflow.execute(Ship, { id: "ship", input: ["book"] })
          yield* b
          return `${parcel.items[0]} ${parcel.sentAt.getTime()}`
        }),
        Schema.String
      )
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Workflow.execute(parent, { id: "1" }), "book 0")
        assert.strictEqual(yield* story, "a pack b")
        const { children, waits } = yield* Workflow.status("1")
        assert.deepStrictEqual(children, [{ id: "1/ship", workflow: "ship", status: "completed" }])
        assert.deepStrictEqual(
          waits.map(({ about, kind, status }) => [kind, about, status]),
          [["child", "ship", "answered"]]
        )
        const child = yield* Workflow.status("1/ship")
        assert.deepStrictEqual(child.parent, Option.some("1"))
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("suspends its parent while it sleeps, and both continue when its time has come", () =>
    Effect.gen(function* () {
      const { layer, story } = yield* builtProcess(backend)
      const parent = parentOf(Workflow.execute(Sleeps, { id: "late", input: "awake" }), Schema.String)
      yield* Effect.gen(function* () {
        yield* Workflow.start(parent, { id: "1" })
        // The worker knows the parent alone.
        yield* Effect.gen(function* () {
          yield* eventually(
            Effect.all([statusOf("1"), statusOf("1/late").pipe(Effect.orElseSucceed(() => ""))]),
            ([parent, child]) => parent === "suspended" && child === "suspended"
          )
          const { waiting } = yield* Workflow.status("1")
          assert.deepStrictEqual(
            waiting.map(({ child, kind, until }) => [kind, child, Option.isSome(until)]),
            [["child", "1/late", true]]
          )
          const joined = yield* Effect.fork(Workflow.join(parent, "1"))
          assert.strictEqual(yield* passTime(joined, "1 second"), "awake")
        }).pipe(Effect.provide(Worker.layer([parent], { patience: 0 })))
        assert.strictEqual(yield* story, "awake")
      }).pipe(Effect.provide(layer))
    })
  )
})

for (const backend of backends)
  describe(`${backend.name}: children`, () => {
    it.scoped("are not started again by a resume, which returns their recorded results without reading them", () =>
      Effect.gen(function* () {
        let reads: Array<string> = []
        const read = (id: string) => Effect.sync(() => void reads.push(id))
        const { layer, story } = yield* builtProcess(backend, (store) => ({
          ...store,
          find: (id) => Effect.zipRight(read(id), store.find(id)),
          open: (request, ...rest) => Effect.zipRight(read(request.id), store.open(request, ...rest)),
          enqueue: (request) => Effect.zipRight(read(request.id), store.enqueue(request))
        }))
        const parent = parentOf(
          Effect.gen(function* () {
            const sent = yield* Workflow.execute(Ship, { id: "ship", input: ["x".repeat(1_000)] })
            yield* Workflow.start(Mail, { id: "mail", input: "ada" })
            const failed = yield* Effect.either(Workflow.execute(Ship, { id: "empty", input: [] }))
            yield* Go.wait()
            return `${sent.items[0]?.length} ${failed._tag}`
          }),
          Schema.String
        )
        yield* Effect.gen(function* () {
          assertTagged(yield* Effect.flip(Workflow.execute(parent, { id: "1" })), "RunSuspended")
          yield* Go.send("1", 1)
          reads = []
          assert.strictEqual(yield* Workflow.execute(parent, { id: "1" }), "1000 Left")
          assert.deepStrictEqual(
            reads.filter((id) => id !== "1"),
            []
          )
          assert.strictEqual(yield* story, "pack pack")
          assert.strictEqual(yield* statusOf("1/mail"), "stopped")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("fail with their own typed errors, which the parent can handle or fail with", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const handles = parentOf(
          Workflow.execute(Ship, { id: "ship", input: [] }).pipe(
            Effect.as("sent"),
            Effect.catchTag("Bad", (error) => Effect.succeed(error instanceof Bad ? "handled" : "no class"))
          ),
          Schema.String
        )
        const fails = parentOf(Effect.asVoid(Workflow.execute(Ship, { id: "ship", input: [] })))
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* Workflow.execute(handles, { id: "1" }), "handled")
          assert.instanceOf(yield* Effect.flip(Workflow.execute(fails, { id: "2" })), Bad)
          assert.instanceOf(yield* Effect.flip(Workflow.execute(fails, { id: "2" })), Bad)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that are cancelled fail with their RunCancelled, never taken for the parent's own", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const fails = parentOf(Effect.as(Workflow.execute(Asks, { id: "ask" }), ""), Schema.String)
        const handles = parentOf(
          Workflow.execute(Asks, { id: "ask" }).pipe(
            Effect.as(""),
            Effect.catchTag("RunCancelled", ({ reason, run }) => Effect.succeed(`${run}: ${reason}`))
          ),
          Schema.String
        )
        yield* Effect.gen(function* () {
          const stops = [Workflow.execute(fails, { id: "1" }), Workflow.execute(handles, { id: "2" })]
          for (const [i, execution] of stops.entries()) {
            const id = `${i + 1}`
            const suspended = yield* Effect.flip(execution)
            assertTagged(suspended, "RunSuspended")
            assert.include(String(suspended), `the end of run "${id}/ask"`)
            assert.strictEqual(yield* Workflow.cancel(`${id}/ask`, { reason: "no answer" }), "cancelling")
          }
          for (let i = 0; i < 2; i++) {
            const error = yield* Effect.flip(Workflow.execute(fails, { id: "1" }))
            assertTagged(error, "RunCancelled")
            assert.deepStrictEqual([error.run, error.reason, error.isTerminated], ["1/ask", "no answer", false])
          }
          assert.strictEqual(yield* statusOf("1"), "failed")
          assert.strictEqual(yield* Workflow.execute(handles, { id: "2" }), "2/ask: no answer")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("of a worker: a parent waits for children that are started, queued or executed elsewhere", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const One = Queue.make("one", { concurrency: 1 })
        const parent = parentOf(
          Effect.gen(function* () {
            yield* Workflow.start(Mail, { id: "mail", input: "ada" })
            yield* Workflow.start(Ship, { id: "ship", input: ["book"], queue: One })
            // A queued child is left to the workers of its queue.
            const { items } = yield* Workflow.execute(Ship, { id: "ship", input: ["book"] })
            yield* Workflow.join(Mail, "mail")
            yield* Workflow.join(Mail, yield* Workflow.childId("mail"))
            return items.join()
          }),
          Schema.String
        )
        yield* Effect.gen(function* () {
          const suspended = yield* Effect.flip(Workflow.execute(parent, { id: "1" }))
          assertTagged(suspended, "RunSuspended", { until: Option.none() })
          assert.strictEqual(yield* story, "")
          const workers = Worker.layer([parent, Mail, Ship], { queues: [One] })
          assert.strictEqual(yield* Workflow.join(parent, "1").pipe(Effect.provide(workers)), "book")
          assert.deepStrictEqual((yield* story).split(" ").sort(), ["ada", "mail", "pack"])
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("run side by side, and their own children too", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* builtProcess(backend)
        const Leaf = Workflow.make("leaf", { input: Schema.Number, success: Schema.Number }, (n) =>
          Effect.as(noted(`leaf ${n}`), n)
        )
        const Twig = Workflow.make("twig", { input: Schema.Number, success: Schema.Number }, (n) =>
          Workflow.execute(Leaf, { id: "leaf", input: n })
        )
        const parent = parentOf(
          Effect.map(
            Effect.all(
              Array.from({ length: 20 }, (_, i) =>
                Workflow.execute(Twig, { id: "twig", input: i }).pipe(Workflow.section("branch", i))
              ),
              { concurrency: "unbounded" }
            ),
            (all) => all.reduce((sum, n) => sum + n, 0)
          ),
          Schema.Number
        )
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* Workflow.execute(parent, { id: "1" }), 190)
          assert.strictEqual((yield* lines).length, 20)
          const { children } = yield* Workflow.status("1")
          assert.strictEqual(new Set(children.map(({ id }) => id)).size, 20)
          const [first] = children
          assert.strictEqual((yield* Workflow.status(first?.id ?? "")).children.length, 1)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("with one name are one child, and refused with another input or workflow", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const ship = (item: string) => Effect.asVoid(Workflow.execute(Ship, { id: "ship", input: [item] }))
        const same = parentOf(Effect.zipRight(ship("book"), ship("book")))
        const other = parentOf(Effect.zipRight(ship("book"), ship("pen")))
        const foreign = parentOf(ship("book"))
        yield* Effect.gen(function* () {
          yield* Workflow.execute(same, { id: "1" })
          assert.strictEqual(yield* story, "pack")
          assertTagged(yield* Effect.flip(Workflow.execute(other, { id: "2" })), "RunMismatch", { field: "input" })
          assert.strictEqual(yield* statusOf("2"), "stopped")
          // A run that has the child's id is no child.
          yield* Workflow.execute(Ship, { id: "3/ship", input: ["book"] })
          assertTagged(yield* Effect.flip(Workflow.execute(foreign, { id: "3" })), "RunMismatch", { field: "parent" })
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that do not exist cannot be joined", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const parent = parentOf(
          Effect.catchTag(Workflow.join(Mail, "mail"), "RunNotFound", ({ run }) => Effect.succeed(run)),
          Schema.Unknown
        )
        const fails = parentOf(Workflow.join(Mail, "mail"))
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* Workflow.execute(parent, { id: "1" }), "1/mail")
          assertTagged(yield* Effect.flip(Workflow.execute(fails, { id: "2" })), "RunNotFound", { run: "2/mail" })
          assert.strictEqual(yield* statusOf("2"), "failed")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("inside of a step are ordinary runs", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const starts = Step.make("starts", {
          run: Effect.orDie(Effect.asVoid(Workflow.execute(Ship, { id: "own", input: ["book"] })))
        })
        yield* Effect.gen(function* () {
          yield* Workflow.execute(parentOf(starts), { id: "1" })
          assert.deepStrictEqual((yield* Workflow.status("own")).parent, Option.none())
          assert.deepStrictEqual((yield* Workflow.status("1")).children, [])
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that are held or in another process keep their parent suspended, which learns of their end", () =>
      Effect.gen(function* () {
        const { layer, place } = yield* builtProcess(backend)
        const parent = parentOf(Workflow.execute(Asks, { id: "ask" }), Schema.Number)
        yield* Effect.gen(function* () {
          assertTagged(yield* Effect.flip(Workflow.execute(parent, { id: "1" })), "RunSuspended")
          yield* Workflow.hold("1/ask", { reason: "wait" })
          assertTagged(yield* Effect.flip(Workflow.execute(parent, { id: "1" })), "RunSuspended")
          yield* Workflow.release("1/ask")
          // Another process has the child, and ends it.
          const run = Option.getOrThrow(yield* place.store.find("1/ask"))
          const opened = yield* place.store.open(run, "another", 60_000)
          if (opened._tag !== "Claimed") return yield* Effect.dieMessage(opened._tag)
          const fiber = yield* Effect.fork(Workflow.execute(parent, { id: "1" }))
          yield* eventually(statusOf("1"), (status) => status === "running")
          yield* turns(20)
          yield* place.store.finish(opened.lease, { status: "completed", exit: "7" })
          assert.strictEqual(yield* passTime(fiber, "1 second"), 7)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("whose process dies are executed by the next one that executes the parent", () =>
      Effect.gen(function* () {
        const { layer, place } = yield* builtProcess(backend)
        const parent = parentOf(Workflow.execute(Sleeps, { id: "late", input: "awake" }), Schema.String)
        yield* Effect.gen(function* () {
          const fiber = yield* Effect.fork(Workflow.execute(parent, { id: "1" }))
          yield* eventually(lengthOf("1/late"), (length) => length > 0)
          yield* Fiber.interrupt(fiber)
          // As a process that died a while ago had left it.
          const run = Option.getOrThrow(yield* place.store.find("1/late"))
          const opened = yield* place.store.open(run, "dead", 30_000)
          assert.strictEqual(opened._tag, "Claimed")
          const again = yield* Effect.fork(Workflow.execute(parent, { id: "1" }))
          assert.strictEqual(yield* passTime(again, "1 second"), "awake")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("die as defects of their parent, and both continue once the program is mended", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        let isMended = false
        const Dies = Workflow.make("dies", {}, () =>
          Effect.suspend(() => (isMended ? Effect.void : Effect.dieMessage("a bug")))
        )
        const parent = parentOf(Effect.ensuring(Workflow.execute(Dies, { id: "dies" }), a))
        yield* Effect.gen(function* () {
          const exit = yield* Effect.exit(Workflow.execute(parent, { id: "1" }))
          assert.isTrue(Exit.isFailure(exit) && exit.cause._tag !== "Empty")
          assert.strictEqual(yield* statusOf("1"), "stopped")
          isMended = true
          yield* Workflow.execute(parent, { id: "1" })
        }).pipe(Effect.provide(layer))
      })
    )
  })
