import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Checkpoint, State, Storage, Workflow } from "effect-recovery"
import { Testing } from "effect-recovery/testing"

const Text = Checkpoint.make("text", { schema: Schema.String, compressAbove: 100 })

/** A store that counts the states it returns. */
const far = () => {
  const inner = Storage.memoryStore()
  const seen = { states: 0 }
  const counted = <A, E>(self: Effect.Effect<A, E>) => Effect.tap(self, () => Effect.sync(() => seen.states++))
  const store: Storage.Store = {
    ...inner,
    newest: (query) => counted(inner.newest(query)),
    fullSnapshots: (query) => counted(inner.fullSnapshots(query)),
    snapshot: (key) => counted(inner.snapshot(key))
  }
  return { seen, store }
}

const layerOver = (store: Storage.Store) => Layer.scoped(Storage.Storage, Storage.make(store, { owner: "test" }))

/** A custom tier: bytes by id, which may fail. */
const shelf = () => {
  const kept = new Map<string, string | Uint8Array>()
  const now = { isDown: false }
  const unlessDown = <A>(answer: () => A) =>
    Effect.suspend(() => (now.isDown ? Effect.fail("down") : Effect.succeed(answer())))
  const tier: Storage.Tier = {
    get: (id) => unlessDown(() => Option.fromNullable(kept.get(id))),
    set: (id, state) => unlessDown(() => void kept.set(id, state))
  }
  return { kept, now, tier }
}

describe("a tiered store", () => {
  const checks = Testing.storageContract(
    Effect.map(Storage.tierMemory({ capacity: 3 }), (memory) => Storage.tiered(Storage.memoryStore(), [memory]))
  )
  for (const { check, name } of checks) it.live(name, () => check)

  it.effect("streams states from the nearest tier, and leaves out what was removed", () =>
    Effect.gen(function* () {
      const { seen, store } = far()
      const near = yield* Storage.tierMemory()
      const program = Effect.gen(function* () {
        for (const text of ["a", "b", "c"]) yield* Text.save(text)
        const states = Effect.map(Stream.runCollect(Text.stream({ pageSize: 2 })), (all) =>
          Chunk.toReadonlyArray(all).map(({ state }) => state)
        )
        assert.deepStrictEqual(yield* states, ["c", "b", "a"])
        assert.strictEqual(seen.states, 3)
        const [newest] = yield* Text.list({ limit: 1 })
        yield* Text.remove(newest?.id ?? "")
        assert.deepStrictEqual(yield* states, ["b", "a"])
        assert.strictEqual(seen.states, 3)
      })
      yield* Effect.provide(program, layerOver(Storage.tiered(store, [near])))
    })
  )

  it.effect("reads a state from the store once, then from the nearest tier that has it", () =>
    Effect.gen(function* () {
      const { seen, store } = far()
      const near = yield* Storage.tierMemory({ timeToLive: "1 minute" })
      const { kept, now, tier } = shelf()
      const long = "lorem ipsum ".repeat(50)
      const program = Effect.gen(function* () {
        for (const text of ["short", long]) {
          seen.states = 0
          kept.clear()
          const { id } = yield* Text.save(text)
          assert.strictEqual(Option.getOrThrow(yield* Text.latest()).state, text)
          assert.strictEqual((yield* Text.restore(id)).state, text)
          assert.deepStrictEqual([seen.states, kept.size], [1, 1])
          // After it expired in memory, the second tier has it.
          yield* TestClock.adjust("2 minutes")
          assert.strictEqual(Option.getOrThrow(yield* Text.latest()).state, text)
          assert.strictEqual(seen.states, 1)
          // Without both tiers, the store has it.
          yield* TestClock.adjust("2 minutes")
          now.isDown = true
          assert.strictEqual(Option.getOrThrow(yield* Text.latest()).state, text)
          assert.strictEqual(seen.states, 2)
          now.isDown = false
        }
      })
      yield* Effect.provide(program, layerOver(Storage.tiered(store, [near, tier])))
    })
  )

  it.effect("sees what another process removes or saves at once", () =>
    Effect.gen(function* () {
      const { store } = far()
      const memory = yield* Storage.tierMemory()
      const other = layerOver(store)
      const program = Effect.gen(function* () {
        const { id } = yield* Text.save("first")
        yield* Text.restore(id)
        yield* Effect.provide(Text.save("second"), other)
        assert.strictEqual(Option.getOrThrow(yield* Text.latest()).state, "second")
        yield* store.remove([Number(id)])
        assert.strictEqual((yield* Effect.flip(Text.restore(id)))._tag, "CheckpointNotFound")
      })
      yield* Effect.provide(program, layerOver(Storage.tiered(store, [memory])))
    })
  )

  it.effect("never caches a global cell, which has no digest", () =>
    Effect.gen(function* () {
      const memory = yield* Storage.tierMemory()
      const Count = State.make("count", Schema.Number, 0, { scope: "global" })
      const Name = State.make("name", Schema.String, "", { scope: "global" })
      const Job = Workflow.make("job", { success: Schema.Array(Schema.Union(Schema.Number, Schema.String)) }, () =>
        Effect.gen(function* () {
          yield* Count.set(1)
          const first = yield* Count.get
          yield* Count.set(2)
          yield* Name.set("x")
          return [first, yield* Count.get, yield* Name.get]
        })
      )
      const run = Workflow.execute(Job, { id: "1" })
      const seen = yield* Effect.provide(run, layerOver(Storage.tiered(Storage.memoryStore(), [memory])))
      assert.deepStrictEqual(seen, [1, 2, "x"])
    })
  )

  it.effect("ignores a tier that dies, hangs or returns bytes for text", () =>
    Effect.gen(function* () {
      const { kept, tier } = shelf()
      const asBytes: Storage.Tier = {
        get: (id) =>
          Effect.map(
            tier.get(id),
            Option.map((state) => (typeof state === "string" ? new TextEncoder().encode(state) : state))
          ),
        set: tier.set
      }
      const dying: Storage.Tier = { get: () => Effect.die("bug"), set: () => Effect.die("bug") }
      const throwing: Storage.Tier = {
        get: () => {
          throw new Error("bug")
        },
        set: () => Effect.void
      }
      const hanging: Storage.Tier = { get: () => Effect.never, set: () => Effect.never }
      for (const tiers of [[asBytes], [dying], [throwing], [hanging], [hanging, asBytes]]) {
        const program = Effect.gen(function* () {
          yield* Text.save("text")
          return [yield* Text.latest(), yield* Text.latest()].map((latest) => Option.getOrThrow(latest).state)
        })
        const fiber = yield* Effect.fork(
          Effect.provide(program, layerOver(Storage.tiered(Storage.memoryStore(), tiers)))
        )
        for (let n = 0; n < 6; n++) yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* Fiber.join(fiber), ["text", "text"])
      }
      assert.isAbove(kept.size, 0)
    })
  )

  it.effect("logs a tier that fails once, and again after it has worked", () =>
    Effect.gen(function* () {
      const { now, tier } = shelf()
      const logged: Array<string> = []
      const logger = Logger.make(({ cause, message }) => void logged.push(`${message} ${Cause.pretty(cause)}`))
      yield* Effect.gen(function* () {
        yield* Text.save("text")
        for (const isDown of [true, true, false, true]) {
          now.isDown = isDown
          assert.strictEqual(Option.getOrThrow(yield* Text.latest()).state, "text")
        }
      }).pipe(
        Effect.provide(layerOver(Storage.tiered(Storage.memoryStore(), [tier]))),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      assert.deepStrictEqual(
        logged.map((line) => /a tier of the storage failed.*down/s.test(line)),
        [true, true],
        logged.join("\n")
      )
    })
  )

  it.effect("ignores a tier whose bytes have another digest", () =>
    Effect.gen(function* () {
      const { kept, tier } = shelf()
      const program = Effect.gen(function* () {
        const { id } = yield* Text.save("mine")
        yield* Text.restore(id)
        for (const key of kept.keys()) kept.set(key, `"yours"`)
        const error = yield* Effect.flip(Text.restore(id))
        assert.strictEqual(error._tag, "CheckpointInvalid")
        assert.include(error.message, "digest")
      })
      yield* Effect.provide(program, layerOver(Storage.tiered(Storage.memoryStore(), [tier])))
    })
  )
})
