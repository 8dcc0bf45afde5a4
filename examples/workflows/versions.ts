import { Effect, Layer, Schema } from "effect"
import { Step, Storage, Worker, Workflow } from "effect-recovery"
import { Testing } from "effect-recovery/testing"

const done: Array<string> = []
const step = (name: string) => Step.make(name, { run: Effect.sync(() => void done.push(name)) })

const Input = { input: Schema.String }

// As it was: some of its runs sleep when the new code is deployed.
const before = Workflow.make("invoice", Input, () =>
  Effect.gen(function* () {
    yield* step("create")
    yield* Workflow.sleep("50 millis")
    yield* step("send by post")
  })
)

// A small change is guarded where it is: runs that have been further keep the old way.
const after = Workflow.make("invoice", Input, () =>
  Effect.gen(function* () {
    yield* step("create")
    if (yield* Workflow.patched("register")) yield* step("register")
    yield* Workflow.sleep("50 millis")
    yield* step("send by post")
  })
)

// A large one is another version. A worker has both, as long as runs of the old one are open.
const next = Workflow.make("invoice", { ...Input, version: "2" }, () =>
  Effect.zipRight(step("create"), step("send by mail"))
)

const worker = Worker.layer([after, next], { patience: 0 })

export const program = Effect.gen(function* () {
  // The old code begins a run, and ends in the middle of its sleep.
  yield* Effect.timeoutOption(Workflow.execute(before, { id: "old", input: "book" }), "20 millis")

  // In the tests of the change: does it fit the runs there are?
  const history = yield* Workflow.history("old")
  const fits = yield* Testing.replay(after, history)
  const renamed = Workflow.make("invoice", Input, () => Effect.zipRight(step("make"), step("send")))
  const misfit = yield* Effect.flip(Testing.replay(renamed, history))

  // Deployed.
  yield* Effect.gen(function* () {
    yield* Workflow.start(after, { id: "new", input: "book" })
    yield* Workflow.join(after, "old")
    yield* Workflow.join(after, "new")
    yield* Workflow.start(next, { id: "newest", input: "book" })
    yield* Workflow.join(next, "newest")
  }).pipe(Effect.provide(worker))
  return {
    fits: fits.end,
    misfit: misfit._tag,
    registered: done.filter((one) => one === "register").length,
    done: done.length
  }
}).pipe(Effect.provide(Layer.fresh(Storage.layerMemory)))
