import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Storage, Workflow } from "effect-recovery"
import type { Ledger } from "effect-recovery/testing"
import { Go, noted, processOn } from "../support/durable.js"
import { backends } from "../support/storages.js"

type Needs = Workflow.Run | Ledger.Ledger

const versioned = <A, E>(version: string, body: Effect.Effect<A, E, Needs>) =>
  Workflow.make(
    "flow",
    { version, error: Schema.Never },
    () => Effect.asVoid(body) as Effect.Effect<void, never, Needs>
  )

const [a, b, c] = [noted("a"), noted("b"), noted("c")]

/** The first version waits for a signal after two steps. */
const first = versioned("1", Effect.all([a, b, Go.wait()]))

/** A later one that fits, and continues with another step. */
const fitting = versioned("2", Effect.all([a, b, Go.wait(), c]))

/** A later one in which a step has another name. */
const other = versioned("2", Effect.all([a, noted("b2"), Go.wait()]))

const rowOf = (id: string) =>
  Effect.flatMap(Storage.Storage, (storage) => Effect.map(storage.find(id), Option.getOrThrow))

/** What a worker or an execution could notice of a run. */
const stateOf = (id: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const { token: _, startedAt: __, ...run } = yield* rowOf(id)
    return { run, journal: yield* storage.journal(run.key) }
  })

for (const backend of backends) {
  const setup = processOn(backend, "30 seconds")

  describe(`${backend.name}: runs of an older version`, () => {
    it.scoped("are adopted if their journals fit, without running a step, and wait for what they waited for", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        yield* Effect.gen(function* () {
          yield* Effect.exit(Workflow.execute(first, { id: "1" }))
          yield* Effect.exit(Workflow.execute(first, { id: "2" }))
          const before = yield* stateOf("1")
          const told = yield* lines
          assert.deepStrictEqual(yield* Workflow.adopt(fitting, { from: "1" }), { adopted: ["2", "1"], refused: [] })
          assert.deepStrictEqual(yield* lines, told)
          const after = yield* stateOf("1")
          assert.deepStrictEqual(after, { ...before, run: { ...before.run, version: "2" } })
          yield* Go.send("1", 1)
          yield* Workflow.execute(fitting, { id: "1" })
          assert.strictEqual((yield* Workflow.status("1")).status, "completed")
          assert.deepStrictEqual(yield* Workflow.adopt(fitting, { from: "1" }), { adopted: [], refused: [] })
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that do not fit are refused with what differs, and stay as they were", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          yield* Effect.exit(Workflow.execute(first, { id: "1" }))
          const before = yield* Effect.all([stateOf("1"), rowOf("1")])
          const { adopted, refused } = yield* Workflow.adopt(other, { from: "1" })
          assert.deepStrictEqual(adopted, [])
          assert.deepStrictEqual(
            refused.map(({ error, run }) => [run, error._tag]),
            [["1", "ReplayMismatch"]]
          )
          assert.deepStrictEqual(yield* Effect.all([stateOf("1"), rowOf("1")]), before)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that a process or a recovery works on are refused, and those that a person holds stay on hold", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          const storage = yield* Storage.Storage
          for (const id of ["manual", "recovering", "leased"]) yield* Effect.exit(Workflow.execute(first, { id }))
          yield* storage.hold("manual", { id: "manual", reason: "look at it" })
          yield* storage.hold("recovering", { id: "recovery/1", reason: "it recovers" })
          const { id, input, labels, version, workflow } = yield* rowOf("leased")
          yield* storage.open({ id, input, labels, version, workflow }, (effect) => effect)
          const { adopted, refused } = yield* Workflow.adopt(fitting, { from: "1" })
          assert.deepStrictEqual(adopted, ["manual"])
          assert.deepStrictEqual(
            refused.map(({ error, run }) => [run, error._tag]),
            [
              ["leased", "LeaseHeld"],
              ["recovering", "RunHeld"]
            ]
          )
          assert.deepStrictEqual((yield* rowOf("manual")).hold?.id, "manual")
          assert.strictEqual((yield* rowOf("leased")).version, "1")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("are named once one has been due for long, unless a process has one of them", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          const start = yield* Workflow.start(first, { id: "1" })
          assert.deepStrictEqual(start, undefined)
          yield* Workflow.start(fitting, { id: "2" })
          yield* TestClock.adjust("59 seconds")
          assert.deepStrictEqual(yield* Workflow.unclaimed(), [])
          yield* TestClock.adjust("1 second")
          const found = yield* Workflow.unclaimed()
          assert.deepStrictEqual(found.map(({ due, version, workflow }) => [workflow, version, due]).sort(), [
            ["flow", "1", 1],
            ["flow", "2", 1]
          ])
          // A worker that is busy with another run of the version.
          yield* Workflow.start(fitting, { id: "3" })
          const storage = yield* Storage.Storage
          const { id, input, labels, version, workflow } = yield* rowOf("3")
          yield* storage.open({ id, input, labels, version, workflow }, (effect) => effect)
          assert.deepStrictEqual(
            (yield* Workflow.unclaimed()).map(({ version }) => version),
            ["1"]
          )
          assert.deepStrictEqual(yield* Workflow.unclaimed({ after: "1 hour" }), [])
          const refused = yield* Effect.exit(Workflow.unclaimed({ after: -1 }))
          assert.ok(Exit.isFailure(refused))
        }).pipe(Effect.provide(layer))
      })
    )
  })
}
