import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FiberId, Schema } from "effect"
import { RetryPolicy, Step, Storage, Workflow } from "effect-recovery"
import { memoryProcess } from "../support/durable.js"

/** A step whose process ends in each attempt until `survives`. */
const makeFatal = (options: { readonly maxCutShort?: number } = {}) => {
  const state = { attempts: 0, survives: false, begun: Deferred.unsafeMake<void>(FiberId.none) }
  const step = Step.make("fatal", {
    ...options,
    run: Effect.suspend(() => {
      state.attempts++
      return state.survives ? Effect.void : Effect.zipRight(Deferred.succeed(state.begun, undefined), Effect.never)
    })
  })
  return { state, step }
}

/** Executes the run in a process that ends in the step. */
const cutShort = <E>(run: Effect.Effect<unknown, E, Storage.Storage>, { state }: ReturnType<typeof makeFatal>) =>
  Effect.gen(function* () {
    state.begun = yield* Deferred.make<void>()
    const executing = yield* Effect.fork(run)
    yield* Deferred.await(state.begun)
    yield* Fiber.interrupt(executing)
  })

const held = <A, E>(run: Effect.Effect<A, E, Storage.Storage>) =>
  Effect.map(Effect.flip(run), (error) =>
    error instanceof Workflow.RunHeld ? error : assert.fail(`not held: ${error}`)
  )

const release = Effect.flatMap(Storage.Storage, (storage) => storage.releaseHold("1", "cut-short"))

describe("a step that ends its process in each attempt", () => {
  it.scoped("puts its run on hold once as many attempts as allowed were cut short", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      const fatal = makeFatal({ maxCutShort: 3 })
      const Flow = Workflow.make("flow", {}, () => fatal.step)
      const run = Workflow.execute(Flow, { id: "1" })
      yield* Effect.gen(function* () {
        for (let i = 0; i < 3; i++) yield* cutShort(run, fatal)
        const error = yield* held(run)
        assert.deepInclude(error, { run: "1", hold: "cut-short" })
        assert.match(error.message, /step "fatal" was cut short again in attempt 3/)
        // It stays so, and no process is ended any more.
        assert.strictEqual((yield* held(run)).hold, "cut-short")
        assert.strictEqual(fatal.state.attempts, 3)
        const status = yield* Workflow.status("1")
        assert.strictEqual(status.status, "held")
        assert.deepStrictEqual(status.steps[0]?.ambiguous, [1, 2, 3])
        // Released, it has as many attempts again.
        yield* release
        for (let i = 0; i < 3; i++) yield* cutShort(run, fatal)
        yield* held(run)
        assert.strictEqual(fatal.state.attempts, 6)
        // What ended the process was mended.
        yield* release
        fatal.state.survives = true
        yield* run
        assert.strictEqual((yield* Workflow.status("1")).status, "completed")
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("is given 20 attempts by default, and any number with Infinity", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      const [bounded, unbounded] = [makeFatal(), makeFatal({ maxCutShort: Number.POSITIVE_INFINITY })]
      const one = Workflow.execute(
        Workflow.make("one", {}, () => bounded.step),
        { id: "1" }
      )
      const two = Workflow.execute(
        Workflow.make("two", {}, () => unbounded.step),
        { id: "2" }
      )
      yield* Effect.gen(function* () {
        for (let i = 0; i < 20; i++) yield* cutShort(one, bounded)
        yield* held(one)
        assert.strictEqual(bounded.state.attempts, 20)
        for (let i = 0; i < 25; i++) yield* cutShort(two, unbounded)
        unbounded.state.survives = true
        yield* two
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("counts only attempts that were cut short, and keeps its retries", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      const calls: Array<number> = []
      const begun = { now: yield* Deferred.make<void>() }
      // Fails in its first two attempts, ends its process in the next two.
      const step = Step.make("fatal", {
        error: Schema.String,
        maxCutShort: 2,
        retry: RetryPolicy.fixed({ maxRetries: 2, delay: 0 }),
        run: Effect.suspend(() => {
          calls.push(calls.length + 1)
          return calls.length <= 2
            ? Effect.fail("down")
            : Effect.zipRight(Deferred.succeed(begun.now, undefined), Effect.never)
        })
      })
      const run = Workflow.execute(
        Workflow.make("flow", { error: Schema.String }, () => step),
        { id: "1" }
      )
      yield* Effect.gen(function* () {
        for (let i = 0; i < 2; i++) {
          begun.now = yield* Deferred.make<void>()
          const executing = yield* Effect.fork(run)
          yield* Deferred.await(begun.now)
          yield* Fiber.interrupt(executing)
        }
        yield* held(run)
        assert.deepStrictEqual(calls, [1, 2, 3, 4])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("stops the steps that were cut short beside it, too", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      const [fatal, innocent] = [makeFatal({ maxCutShort: 1 }), makeFatal()]
      const beside = Workflow.section("beside")(innocent.step)
      const Flow = Workflow.make("flow", {}, () => Effect.all([fatal.step, beside], { concurrency: 2, discard: true }))
      const run = Workflow.execute(Flow, { id: "1" })
      yield* Effect.gen(function* () {
        yield* cutShort(run, fatal)
        yield* held(run)
        assert.deepStrictEqual([fatal.state.attempts, innocent.state.attempts], [1, 1])
        yield* release
        fatal.state.survives = true
        innocent.state.survives = true
        yield* run
        assert.deepStrictEqual([fatal.state.attempts, innocent.state.attempts], [2, 2])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("does not stop a person who works on the run", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      const fatal = makeFatal({ maxCutShort: 1 })
      const run = Workflow.execute(
        Workflow.make("flow", {}, () => fatal.step),
        { id: "1" }
      )
      yield* Effect.gen(function* () {
        yield* cutShort(run, fatal)
        yield* held(run)
        const storage = yield* Storage.Storage
        const { _tag } = yield* storage.hold("1", { id: "manual", reason: "to look" }, "cut-short")
        assert.strictEqual(_tag, "Held")
        yield* storage.releaseHold("1", "manual")
        fatal.state.survives = true
        yield* run
        assert.strictEqual(fatal.state.attempts, 2)
      }).pipe(Effect.provide(layer))
    })
  )

  it("the option is a whole number of at least 1", () => {
    for (const maxCutShort of [0, -1, 1.5, Number.NaN]) {
      assert.throws(() => makeFatal({ maxCutShort }), /maxCutShort/)
    }
  })
})
