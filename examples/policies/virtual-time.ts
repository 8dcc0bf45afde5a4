import { Clock, Context, Data, Effect, Fiber, Layer, TestClock, TestContext } from "effect"
import { Fault, Recovery, RetryPolicy } from "effect-recovery"

class SourceDown extends Data.TaggedError("SourceDown")<{}> {}

class Source extends Context.Tag("Source")<Source, { readonly read: Effect.Effect<string, SourceDown> }>() {}

// The pipeline under test: its layers decide how often and how long it retries.
const pipeline = Effect.flatMap(Source, ({ read }) => Recovery.retry(read))

/** The layers of production. */
const Policies = Layer.mergeAll(
  Fault.layer(Fault.tag("SourceDown", { category: "unavailable" })),
  RetryPolicy.layer(RetryPolicy.byCategory({ unavailable: RetryPolicy.exponential({ initialDelay: "10 seconds" }) }))
)

/** A source that fails `failures` times, and the times of its calls in seconds. */
const sourceOf = (failures: number, calls: Array<number>) =>
  Layer.succeed(Source, {
    read: Effect.flatMap(Clock.currentTimeMillis, (now) =>
      calls.push(now / 1_000) <= failures ? Effect.fail(new SourceDown()) : Effect.succeed("text")
    )
  })

const waits = Effect.gen(function* () {
  const calls: Array<number> = []
  const fiber = yield* Effect.fork(pipeline.pipe(Effect.provide([sourceOf(3, calls), Policies])))
  // Time moves only here: no wait of the pipeline takes real time.
  yield* TestClock.adjust("70 seconds")
  return { text: yield* Fiber.join(fiber), calls }
})

const gives = Effect.gen(function* () {
  const calls: Array<number> = []
  // Without retries the first failure is the answer.
  const failure = yield* Effect.flip(
    pipeline.pipe(Effect.provide([sourceOf(1, calls), RetryPolicy.layer(RetryPolicy.none)]))
  )
  return { failure: failure._tag, calls: calls.length }
})

export const program = Effect.all({ waits, gives }).pipe(Effect.provide(TestContext.TestContext))
