import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Step, Storage, Workflow } from "effect-recovery"
import { RecoveryManager } from "effect-recovery/operate"
import { builtProcess } from "../support/durable.js"
import { memory } from "../support/storages.js"

const work = Step.make("work", { run: Effect.void })
const Job = Workflow.make("job", {}, () => Effect.zipRight(work, Workflow.sleep("1 day")))

const lost = new Storage.StorageError({ reason: "Io", operation: "Holding a run", cause: new Error("no answer") })

const holdOf = (run: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    return Option.getOrThrow(yield* storage.find(run)).hold?.id
  })

/** A manager over a store that is changed as soon as the returned switch is on. */
const managed = (change: (store: Storage.Store, isOn: () => boolean) => Storage.Store) =>
  Effect.gen(function* () {
    let isOn = false
    const { layer } = yield* builtProcess(memory, (store) => change(store, () => isOn))
    const context = yield* Layer.build(Layer.provideMerge(RecoveryManager.layer({ workflows: [Job] }), layer))
    const turn = (on: boolean) =>
      Effect.sync(() => {
        isOn = on
      })
    return { layer: Layer.succeedContext(context), turn }
  })

const failed = Effect.gen(function* () {
  yield* Effect.exit(Workflow.start(Job, { id: "1" }))
  return (yield* RecoveryManager.report("broken", { run: "1" })).id
})

describe("the hold of a run that an operator recovers", () => {
  it.scoped("is that of the person again if the journal cannot be read when the recovery ends", () =>
    Effect.gen(function* () {
      let isHeld = false
      const { layer, turn } = yield* managed((store, isOn) => ({
        ...store,
        hold: (run, hold, from) => {
          isHeld = isOn()
          return store.hold(run, hold, from)
        },
        journal: (key, longest) => (isHeld && isOn() ? Effect.fail(lost) : store.journal(key, longest))
      }))
      yield* Effect.gen(function* () {
        const failure = yield* failed
        yield* Workflow.hold("1", { reason: "look at it" })
        yield* turn(true)
        assert.strictEqual((yield* Effect.flip(RecoveryManager.initiate(failure, "retry")))._tag, "StorageError")
        yield* turn(false)
        assert.strictEqual(yield* holdOf("1"), "manual")
      }).pipe(Effect.provide(layer))
    })
  )

  for (const person of [false, true])
    it.scoped(`is as it was${person ? ", by a person," : ""} if the answer about the recovery's hold was lost`, () =>
      Effect.gen(function* () {
        const { layer, turn } = yield* managed((store, isOn) => ({
          ...store,
          hold: (run, hold, from) =>
            Effect.flatMap(store.hold(run, hold, from), (holding) =>
              isOn() && hold.id.startsWith("recovery/") && holding._tag === "Held"
                ? Effect.fail(lost)
                : Effect.succeed(holding)
            )
        }))
        yield* Effect.gen(function* () {
          const failure = yield* failed
          if (person) yield* Workflow.hold("1", { reason: "look at it" })
          yield* turn(true)
          assert.strictEqual((yield* Effect.flip(RecoveryManager.initiate(failure, "retry")))._tag, "StorageError")
          yield* turn(false)
          assert.strictEqual(yield* holdOf("1"), person ? "manual" : undefined)
        }).pipe(Effect.provide(layer))
      })
    )
})
