import { Effect, Fiber, Schema, TestClock, TestContext } from "effect"
import { RetryPolicy, Step, Storage, Workflow } from "effect-recovery"

class Down extends Schema.TaggedError<Down>()("Down", {}) {}

let attempts = 0

const flaky = Step.make("flaky", {
  success: Schema.Number,
  error: Down,
  retry: RetryPolicy.fixed({ maxRetries: 5, delay: "1 hour" }),
  run: () => Effect.suspend(() => (++attempts < 3 ? Effect.fail(new Down()) : Effect.succeed(attempts)))
})

const Patient = Workflow.make("patient", { success: Schema.Number, error: Down }, () => flaky())

const test = Effect.gen(function* () {
  const execute = Workflow.execute(Patient, { id: "run-1" })
  const first = yield* Effect.fork(execute)
  yield* TestClock.adjust("90 minutes")
  // Stopped in the middle of a wait, the run continues with the rest of it.
  yield* Fiber.interrupt(first)
  const second = yield* Effect.fork(execute)
  yield* TestClock.adjust("30 minutes")
  return yield* Fiber.join(second)
})

test
  .pipe(Effect.provide(Storage.layerMemory), Effect.provide(TestContext.TestContext), Effect.runPromise)
  .then(console.log)
