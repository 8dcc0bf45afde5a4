import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import {
  Bulkhead,
  Checkpoint,
  CircuitBreaker,
  Decision,
  Failover,
  Graph,
  Lock,
  Parameters,
  Recovery,
  RetryBudget,
  RetryPolicy,
  Signal,
  State,
  Step,
  Storage,
  Strategy,
  Transaction,
  Worker,
  Workflow
} from "effect-recovery"
import { backends, memory } from "../support/storages.js"
import { eventually } from "../support/time.js"

const unusable: ReadonlyArray<readonly [reason: string, name: string]> = [
  ["Empty", ""],
  ["NotWellFormed", "Launch 🚀 now".slice(0, 8)],
  ["NotWellFormed", "\udc00 first"],
  ["Nul", "a\u0000b"],
  ["TooLong", "x".repeat(10_000)]
]

const usable: ReadonlyArray<string> = [
  "..",
  "__proto__",
  "constructor",
  "a/b",
  "a%2Fb",
  "a#2",
  "a~2",
  "a?1",
  "🚀",
  " ",
  "x".repeat(4_096)
]

const go = Signal.make("go", Schema.String)
const step = (name: string) => Step.make(name, { success: Schema.String, run: Effect.succeed(name) })
const Echo = Workflow.make("echo", { input: Schema.String, success: Schema.String }, (input) =>
  Effect.zipRight(step("note"), Effect.succeed(input))
)

describe("A name that cannot be used", () => {
  it.each(unusable)("is refused where it is defined: %s", (reason, name) => {
    const definitions: ReadonlyArray<() => unknown> = [
      () => step(name),
      () => Step.transactional(name, { run: Effect.void }),
      () => Step.once(name, { run: Effect.void }),
      () => Workflow.make(name, {}, () => Effect.void),
      () => Workflow.make("w", { version: name }, () => Effect.void),
      () => Signal.make(name, Schema.Void),
      () => Checkpoint.make(name, { schema: Schema.Void }),
      () => State.make(name, Schema.Number, 0),
      () => Graph.make(name, { a: Graph.node(step("a")) })
    ]
    for (const define of definitions) {
      const thrown = (() => {
        try {
          return define()
        } catch (error) {
          return error
        }
      })()
      assert.instanceOf(thrown, Workflow.InvalidName, String(define))
      assert.strictEqual((thrown as Workflow.InvalidName).reason, reason)
      assert.isAtMost((thrown as Workflow.InvalidName).message.length, 600)
    }
    const made: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      Transaction.run(Effect.void, { name }),
      CircuitBreaker.make({ name }),
      CircuitBreaker.keyed({ name }),
      Bulkhead.make({ name }),
      RetryBudget.make({ name }),
      Failover.make({ name, ways: { a: () => Effect.void } }),
      Failover.make({ name: "f", ways: { [name]: () => Effect.void } }),
      Recovery.recoverable({ name, breaker: false }),
      Effect.suspend(() => Recovery.recover(Effect.void, {}, { name })),
      Effect.suspend(() => Effect.void.pipe(Recovery.auto(name))),
      Effect.suspend(() => Recovery.named(name, () => Effect.void)()),
      Effect.sync(() => Strategy.make(name, () => Decision.abort))
    ]
    for (const one of made) {
      const died = Effect.runSyncExit(one)
      assert.isTrue(Exit.isFailure(died) && Cause.squash(died.cause) instanceof Workflow.InvalidName)
    }
    // Parameters are cells whose names have a prefix.
    if (reason !== "Empty") assert.throws(() => Parameters.make(name, Schema.Number, 0))
  })

  for (const backend of backends) {
    it.scopedLive.each(unusable)(
      `is refused by every door on ${backend.name}, and nothing changes: %s`,
      ([reason, name]) =>
        Effect.gen(function* () {
          const place = yield* backend.make
          const layer = place.join()
          const invalid = <A, R>(self: Effect.Effect<A, { readonly _tag: string }, R>) =>
            Effect.map(Effect.flip(self), (error) => {
              assert.instanceOf(error, Workflow.InvalidName)
              if (error instanceof Workflow.InvalidName) assert.strictEqual(error.reason, reason)
            })
          const missing = <A, R>(self: Effect.Effect<A, { readonly _tag: string }, R>) =>
            Effect.map(Effect.flip(self), (error) => assert.strictEqual(error._tag, "RunNotFound"))
          yield* Effect.gen(function* () {
            yield* invalid(Workflow.execute(Echo, { id: name, input: "" }))
            yield* invalid(Workflow.start(Echo, { id: name, input: "" }))
            yield* invalid(Workflow.start(Echo, { id: "labels", input: "", labels: { [name]: "" } }))
            if (reason !== "Empty")
              yield* invalid(Workflow.start(Echo, { id: "labels", input: "", labels: { a: name } }))
            yield* Workflow.execute(Echo, { id: "origin", input: "" })
            yield* invalid(Workflow.fork("origin", { as: name, to: Workflow.fromStart }))
            yield* invalid(go.send("origin", "", { id: name }))
            yield* missing(go.send(name, ""))
            yield* missing(Workflow.join(Echo, name))
            yield* missing(Workflow.resume(Echo, name))
            yield* missing(Workflow.status(name))
            const locked = yield* Effect.flip(Lock.withLock(Effect.void, name))
            assert.strictEqual(locked._tag, "LockError")
            if (locked._tag === "LockError") assert.strictEqual(locked.reason, "Name")
            assert.lengthOf(yield* place.store.list({}), 1)
          }).pipe(Effect.provide(Layer.merge(layer, Layer.provide(Lock.layerStorage(), layer))))
        })
    )
  }
})

describe("A name with punctuation", () => {
  for (const backend of backends) {
    it.scopedLive(`is plain text everywhere on ${backend.name}`, () =>
      Effect.gen(function* () {
        const layer = Layer.merge((yield* backend.make).join(), RetryPolicy.layer(RetryPolicy.none))
        yield* Effect.forEach(usable, (name) =>
          Effect.gen(function* () {
            const signal = Signal.make(name, Schema.String)
            const cell = State.make(name, Schema.String, "")
            const saved = Checkpoint.make(name, { schema: Schema.String })
            const All = Workflow.make(name, { success: Schema.Array(Schema.String) }, () =>
              Effect.gen(function* () {
                const one = yield* Workflow.section(name)(step(name))
                yield* cell.set(one)
                yield* Effect.orDie(saved.save(one))
                const two = yield* signal.wait({ id: name })
                const found = yield* Effect.orDie(saved.latest())
                return [one, two, yield* cell.get, Option.getOrThrow(found).state]
              })
            )
            const run = { id: name, labels: { [name]: name } }
            assert.strictEqual((yield* Effect.flip(Workflow.execute(All, run)))._tag, "RunSuspended")
            yield* signal.send(name, "sent", { id: name })
            assert.deepStrictEqual(yield* Workflow.execute(All, run), [name, "sent", name, name])
            assert.deepStrictEqual((yield* Workflow.status(name)).labels, { [name]: name })
          })
        ).pipe(Effect.provide(layer))
      })
    )
  }
})

describe("A worker executes a run by its key", () => {
  it.scopedLive("and neither executes nor creates one whose id is read back as another text", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      // As a database that changes ids when it stores them.
      const changing: Storage.Store = {
        ...store,
        claimDue: (...args) =>
          Effect.map(store.claimDue(...args), (found) =>
            found.map((one) => ({ ...one, run: { ...one.run, id: `${one.run.id}\ufffd` } }))
          )
      }
      const ran: Array<string> = []
      const Job = Workflow.make("job", { input: Schema.String }, (input) => Effect.sync(() => void ran.push(input)))
      const storage = Layer.scoped(Storage.Storage, Storage.make(changing, { owner: "worker" }))
      yield* Effect.gen(function* () {
        yield* Workflow.start(Job, { id: "changed", input: "once" })
        yield* Worker.Worker
        yield* eventually(Workflow.status("changed"), ({ status }) => status === "completed")
        assert.deepStrictEqual(ran, ["once"])
        assert.lengthOf(yield* store.list({}), 1)
      }).pipe(Effect.provide(Layer.provideMerge(Worker.layer([Job]), storage)))
    })
  )

  it.scopedLive("and leaves a run that was removed since it was found", () =>
    Effect.gen(function* () {
      const { store } = yield* memory.make
      const request = { id: "gone", workflow: "w", version: "1", input: "", labels: {} }
      assert.deepStrictEqual(yield* store.open({ ...request, key: 7 }, "a", 1_000), { _tag: "Gone" })
      assert.lengthOf(yield* store.list({}), 0)
    })
  )
})
