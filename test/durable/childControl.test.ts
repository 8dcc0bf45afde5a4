import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Storage, Transaction, Worker, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { assertTagged } from "../support/assertions.js"
import { Bad, builtProcess, Go, noted, undoable } from "../support/durable.js"
import { inEveryStorage } from "../support/everyStorage.js"
import { backends } from "../support/storages.js"
import { eventually, passTime, turns } from "../support/time.js"

const because = { reason: "no longer needed", by: "ada" }

/** Compensates its step when it is cancelled while it waits. */
const levelOf = <R>(name: string, inner: Effect.Effect<unknown, Workflow.Failure<never> | Workflow.RunError, R>) =>
  Workflow.make(name, {}, () =>
    Effect.asVoid(Transaction.run(Effect.zipRight(undoable(name), inner), { name: `around ${name}` }))
  )

const Leaf = levelOf("leaf", Go.wait())
const Twig = levelOf("twig", Workflow.execute(Leaf, { id: "leaf" }))
const Tree = levelOf("tree", Workflow.execute(Twig, { id: "twig" }))

const statusOf = (id: string) =>
  Effect.map(
    Effect.flatMap(Storage.Storage, ({ find }) => find(id)),
    Option.match({
      onNone: () => "none",
      onSome: ({ cancel, outcome }) => outcome?.status ?? (cancel ? "cancelling" : "open")
    })
  )

const idsOf = (id: string): Effect.Effect<ReadonlyArray<string>, Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const children = yield* storage.list({ parent: id })
    const inner = yield* Effect.forEach(children, (child) => idsOf(child.id))
    return [id, ...inner.flat()]
  })

inEveryStorage("to cancel a run with children", (backend) => {
  it.scoped("cancels the whole tree, each with its compensations", () =>
    Effect.gen(function* () {
      const { layer, story } = yield* builtProcess(backend)
      yield* Effect.gen(function* () {
        assertTagged(yield* Effect.flip(Workflow.execute(Tree, { id: "1" })), "RunSuspended")
        const ids = yield* idsOf("1")
        assert.strictEqual(ids.length, 3)
        assert.strictEqual(yield* Workflow.cancel("1", because), "cancelling")
        assert.deepStrictEqual(yield* Effect.forEach(ids, statusOf), ["cancelling", "cancelling", "cancelling"])
        // The process knows the parent alone: it cancels the children that the parent waits for.
        const error = yield* Effect.flip(Workflow.execute(Tree, { id: "1" }))
        assertTagged(error, "RunCancelled", { run: "1", reason: because.reason })
        assert.deepStrictEqual(yield* Effect.forEach(ids, statusOf), ["cancelled", "cancelled", "cancelled"])
        assert.strictEqual(yield* story, "tree twig leaf undo leaf undo twig undo tree")
      }).pipe(Effect.provide(layer))
    })
  )
})

for (const backend of backends)
  describe(`${backend.name}: the children of a run`, () => {
    it.scoped("are cancelled while a process executes all of them", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const Slow = levelOf("slow", Workflow.sleep("10 minutes"))
        const parent = levelOf("parent", Workflow.execute(Slow, { id: "slow" }))
        yield* Effect.gen(function* () {
          const fiber = yield* Effect.fork(Effect.flip(Workflow.execute(parent, { id: "1" })))
          yield* eventually(
            Effect.map(idsOf("1"), ({ length }) => length),
            (length) => length === 2
          )
          yield* eventually(story, (text) => text === "parent slow")
          yield* Workflow.cancel("1", because)
          const error = yield* passTime(fiber, "1 second")
          assertTagged(error, "RunCancelled", { run: "1" })
          assert.deepStrictEqual(yield* Effect.forEach(yield* idsOf("1"), statusOf), ["cancelled", "cancelled"])
          assert.strictEqual(yield* story, "parent slow undo slow undo parent")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("are left if the request says so, and cancelled beside a parent that is terminated", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        yield* Effect.gen(function* () {
          for (const id of ["left", "ended", "kept"]) yield* Effect.flip(Workflow.execute(Tree, { id }))
          yield* Workflow.cancel("left", { ...because, children: "leave" })
          yield* Effect.flip(Workflow.execute(Tree, { id: "left" }))
          assert.deepStrictEqual(yield* Effect.forEach(yield* idsOf("left"), statusOf), ["cancelled", "open", "open"])
          yield* Workflow.terminate("kept", { ...because, children: "leave" })
          assert.deepStrictEqual(yield* Effect.forEach(yield* idsOf("kept"), statusOf), ["cancelled", "open", "open"])
          yield* Workflow.terminate("ended", because)
          const ids = yield* idsOf("ended")
          assert.deepStrictEqual(yield* Effect.forEach(ids, statusOf), ["cancelled", "cancelling", "cancelling"])
          // A worker that has the child's workflow carries it out, with the child's compensations.
          const ended = Effect.flip(Workflow.join(Twig, ids[1] ?? "")).pipe(Effect.provide(Worker.layer([Twig])))
          assertTagged(yield* ended, "RunCancelled", { isTerminated: false })
          assert.include(yield* story, "undo leaf undo twig")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that only were started are cancelled by the process that cancels the parent, too", () =>
      Effect.gen(function* () {
        const { layer, place } = yield* builtProcess(backend)
        const parent = Workflow.make("parent", {}, () =>
          Effect.gen(function* () {
            yield* Workflow.start(Leaf, { id: "leaf" })
            yield* Go.wait()
          })
        )
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(parent, { id: "1" }))
          // The process that stored the request died before it reached the child.
          yield* place.store.cancel("1", JSON.stringify(because))
          assert.strictEqual(yield* statusOf("1/leaf"), "open")
          yield* Effect.flip(Workflow.execute(parent, { id: "1" }))
          assert.deepStrictEqual(yield* Effect.forEach(["1", "1/leaf"], statusOf), ["cancelled", "cancelled"])
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that the program interrupts are cancelled, and not executed again", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const parent = Workflow.make("parent", { success: Schema.String }, () =>
          Effect.gen(function* () {
            const first = yield* Effect.race(
              Effect.as(Workflow.execute(Leaf, { id: "leaf" }), "leaf"),
              Effect.as(Effect.zipRight(Workflow.sleep("1 second"), noted("late")), "late")
            )
            yield* noted("after")
            return first
          })
        )
        yield* Effect.gen(function* () {
          const fiber = yield* Effect.fork(Workflow.execute(parent, { id: "1" }))
          yield* eventually(story, (text) => text === "leaf")
          assert.strictEqual(yield* passTime(fiber, "1 second"), "late")
          assert.strictEqual(yield* statusOf("1/leaf"), "cancelled")
          assert.strictEqual(yield* story, "leaf late undo leaf after")
          yield* turns(5)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that a rewind drops are cancelled, and the body starts others", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const parent = Workflow.make("parent", {}, () =>
          Effect.gen(function* () {
            yield* noted("a")
            yield* Workflow.execute(Leaf, { id: "leaf" })
            yield* noted("b")
          })
        )
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(parent, { id: "1" }))
          yield* Workflow.rewind(parent, "1", Workflow.beforeStep("a"))
          const dropped = yield* Workflow.status("1/leaf")
          assert.include(Option.getOrThrow(dropped.cancelling).reason, 'run "1" was rewound')
          assertTagged(yield* Effect.flip(Workflow.resume(parent, "1")), "RunSuspended")
          assert.deepStrictEqual([...(yield* idsOf("1"))].sort(), ["1", "1/leaf", "1/leaf~2"])
          yield* Go.send("1/leaf~2", 1)
          yield* Workflow.resume(parent, "1")
          assert.strictEqual(yield* statusOf("1/leaf~2"), "completed")
          assert.strictEqual(yield* story, "a leaf a leaf b")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped(
      "stay those of the run that is forked: the fork has their results, and starts its own of the others",
      () =>
        Effect.gen(function* () {
          const { layer, story } = yield* builtProcess(backend)
          const Quick = Workflow.make("quick", { success: Schema.String }, () => noted("quick"))
          const parent = Workflow.make("parent", { success: Schema.String }, () =>
            Effect.gen(function* () {
              const quick = yield* Workflow.execute(Quick, { id: "quick" })
              yield* Workflow.start(Leaf, { id: "leaf" })
              yield* noted("b")
              yield* Workflow.execute(Leaf, { id: "leaf" })
              return quick
            })
          )
          yield* Effect.gen(function* () {
            yield* Effect.flip(Workflow.execute(parent, { id: "1" }))
            yield* Workflow.fork("1", { as: "2", to: Workflow.beforeStep("b") })
            yield* Effect.flip(Workflow.resume(parent, "2"))
            assert.deepStrictEqual([...(yield* idsOf("1"))].sort(), ["1", "1/leaf", "1/quick"])
            assert.deepStrictEqual([...(yield* idsOf("2"))].sort(), ["2", "2/leaf"])
            yield* Go.send("2/leaf", 1)
            assert.strictEqual(yield* Workflow.resume(parent, "2"), "quick")
            assert.strictEqual(yield* statusOf("1/leaf"), "open")
            assert.strictEqual(yield* story, "quick b leaf b leaf")
          }).pipe(Effect.provide(layer))
        })
    )

    it.scoped("are others in each generation of the run", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        const Round = Workflow.make("round", { input: Schema.Number, success: Schema.Number }, (n) => Effect.succeed(n))
        const parent = Workflow.make("parent", { input: Schema.Number, success: Schema.Number }, (n, continueAs) =>
          Effect.flatMap(Workflow.execute(Round, { id: "round", input: n }), (n) =>
            n < 3 ? continueAs(n + 1) : Effect.succeed(n)
          )
        )
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* Workflow.execute(parent, { id: "1", input: 1 }), 3)
          assert.deepStrictEqual([...(yield* idsOf("1"))].sort(), ["1", "1/round", "1/round[2]", "1/round[3]"])
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("are compensated by a transaction around them, also at a resume and when the parent is cancelled", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const Quick = Workflow.make("quick", { success: Schema.String }, () => noted("quick"))
        const child = Workflow.execute(Quick, { id: "quick" }).pipe(
          Transaction.withCompensation(() => Ledger.undone("quick"), { name: "quick" })
        )
        const body = Effect.zipRight(Effect.zipRight(child, Go.wait()), new Bad())
        const parent = Workflow.make("parent", { error: Bad }, () => Effect.asVoid(Transaction.run(body)))
        yield* Effect.gen(function* () {
          for (const id of ["1", "2"])
            assertTagged(yield* Effect.flip(Workflow.execute(parent, { id })), "RunSuspended")
          yield* Go.send("1", 1)
          assert.instanceOf(yield* Effect.flip(Workflow.execute(parent, { id: "1" })), Bad)
          assert.strictEqual(yield* story, "quick quick undo quick")
          yield* Workflow.cancel("2", because)
          assertTagged(yield* Effect.flip(Workflow.execute(parent, { id: "2" })), "RunCancelled", { run: "2" })
          assert.strictEqual(yield* story, "quick quick undo quick undo quick")
        }).pipe(Effect.provide(layer))
      })
    )
  })
