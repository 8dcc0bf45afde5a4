// A program of CommonJS. Prints how many copies of Effect it has loaded: "one" or "two".
const { Data, Effect, Schema } = require("effect")
const { RetryPolicy, Step, Storage, Workflow } = require("effect-recovery")

const Five = Step.make("five", { success: Schema.Number, run: Effect.succeed(5) })
const Add = Workflow.make("add", { input: Schema.Struct({ n: Schema.Number }), success: Schema.Number }, ({ n }) =>
  Effect.map(Five, (five) => five + n)
)

class Offline extends Data.TaggedError("Offline") {}
let attempts = 0
const flaky = Effect.suspend(() => (++attempts < 3 ? Effect.fail(new Offline()) : Effect.succeed("online")))

const program = Effect.gen(function* () {
  const sum = yield* Workflow.execute(Add, { id: "a", input: { n: 2 } })
  const recorded = yield* Workflow.execute(Add, { id: "a", input: { n: 2 } })
  const state = yield* Effect.retry(flaky, RetryPolicy.fixed({ maxRetries: 3, delay: 1 }))
  if (sum !== 7 || recorded !== 7 || state !== "online") throw new Error(`${sum}, ${recorded}, ${state}`)
})

Effect.runPromise(Effect.provide(program, Storage.layerMemory))
  .then(() => import("effect"))
  .then((imported) => console.log(imported.Effect === Effect ? "one" : "two"))
