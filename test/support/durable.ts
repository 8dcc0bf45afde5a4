import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Function from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Checkpoint, RetryPolicy, Signal, Step, Storage, type Strategy, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { type Backend, memory } from "./storages.js"

export class Bad extends Schema.TaggedError<Bad>()("Bad", {}) {}

export const Go = Signal.make("go", Schema.Number)
export const Other = Signal.make("other", Schema.Number)
export const Numbers = Checkpoint.make("numbers", { schema: Schema.Number })

/** Adds its name to the ledger and returns it. */
export const noted = (name: string) =>
  Step.make(name, { success: Schema.String, run: Effect.as(Ledger.done(name), name) })

export const [a, b, c, d] = [noted("a"), noted("b"), noted("c"), noted("d")] as const

/** Adds its name to the ledger when it runs and when it is compensated. */
export const undoable = (name: string) =>
  Step.make(name, { run: Ledger.done(name), compensate: () => Ledger.undone(name) })

export const undoableAfter = (name: string, millis: number) =>
  Step.make(name, {
    run: Effect.zipRight(Effect.sleep(millis), Ledger.done(name)),
    compensate: () => Ledger.undone(name)
  })

/** Fails in its first attempt only. */
export const failsOnce = (
  name: string,
  strategy: Strategy.Strategy<Bad, never, Strategy.Exhausted | Strategy.RewindRefused, Strategy.Rewinder>
) => {
  let times = 0
  return Step.make(name, {
    error: Bad,
    run: Effect.suspend(() => (times++ === 0 ? Effect.fail(new Bad()) : Effect.void)),
    recover: { Bad: strategy }
  })
}

export type Body = Effect.Effect<unknown, never, Workflow.Run | Ledger.Ledger>

export const flow = (body: Body) => Workflow.make("flow", {}, () => Effect.asVoid(body))

/** The lines of a ledger as texts: `a`, and `undo a` for its compensation. */
export const linesOf = (ledger: Ledger.Service) =>
  Effect.map(ledger.lines, (lines) => lines.map(({ effect, kind }) => (kind === "done" ? effect : `undo ${effect}`)))

/** A process on a storage layer, with a ledger and no retries. */
export const processWith = <E>(storage: Layer.Layer<Storage.Storage, E>) =>
  Effect.map(Ledger.make, (ledger) => {
    const layer = Layer.mergeAll(storage, Layer.succeed(Ledger.Ledger, ledger), RetryPolicy.layer(RetryPolicy.none))
    return { ledger, layer, lines: linesOf(ledger) }
  })

/** A process on a new place. Its lease outlasts every test unless one is given. */
export const processOn = (backend: Backend, lease: Duration.DurationInput = "10 days") =>
  Effect.flatMap(backend.make, (place) =>
    Effect.map(processWith(place.join(lease)), (process) => ({ ...process, place }))
  )

/** A process, as its context, on a new place whose store may be changed. Its lease outlasts every test. */
export const builtProcess = (backend: Backend, change?: (store: Storage.Store) => Storage.Store) =>
  Effect.gen(function* () {
    const place = yield* Effect.orDie(backend.make)
    const changed = Effect.suspend(() => Storage.make((change ?? Function.identity)(place.store), owned))
    const storage = change === undefined ? place.join(owned.lease) : Layer.scoped(Storage.Storage, changed)
    const { layer, lines } = yield* processWith(storage)
    const context = yield* Layer.build(layer)
    const story = Effect.map(lines, (all) => all.join(" "))
    return { context, layer: Layer.succeedContext(context), lines, place, story }
  })

const owned = { owner: "test", lease: "10 days" } as const

/** A process with a memory store. */
export const memoryProcess = (change?: (store: Storage.Store) => Storage.Store) => builtProcess(memory, change)

/** A change of a store, and whether the process that has it knows that a run is on hold. */
export const holdsRead = () => {
  let isTold = false
  const change = (store: Storage.Store): Storage.Store => ({
    ...store,
    controls: (leases) =>
      Effect.tap(store.controls(leases), (found) => {
        isTold ||= found.some(({ hold }) => hold !== undefined)
      })
  })
  return { change, isTold: Effect.sync(() => isTold) }
}
