import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Recovery, RetryPolicy, Step, type Storage, Strategy, Workflow } from "effect-recovery"
import { describe, expectTypeOf, it } from "vitest"

class Offline extends Schema.TaggedError<Offline>()("Offline", { host: Schema.String }) {}
class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}
class Gateway extends Context.Tag("Gateway")<Gateway, { readonly url: string }>() {}
class Mirror extends Context.Tag("Mirror")<Mirror, { readonly url: string }>() {}

const Errors = Schema.Union(Offline, Declined)
const charge: Effect.Effect<number, Offline | Declined, Gateway> = Effect.fail(new Declined())

describe("Step.make, in types", () => {
  it("is an Effect of its schemas' types", () => {
    const step = Step.make("charge", { success: Schema.Number, error: Errors, run: charge })
    expectTypeOf(step).toEqualTypeOf<Step.Step<number, Offline | Declined, Gateway>>()
    expectTypeOf(step).toExtend<Effect.Effect<number, Offline | Declined, Gateway | Workflow.Run>>()
  })

  it("with a function it takes its argument at the call", () => {
    const step = Step.make("double", { success: Schema.Number, run: (n: number) => Effect.succeed(n * 2) })
    expectTypeOf(step).toEqualTypeOf<(input: number) => Step.Step<number, never, never>>()
  })

  it("a function without parameters needs no argument, a workflow without input none either", () => {
    const step = Step.make("tick", { run: () => Effect.void })
    expectTypeOf(step()).toEqualTypeOf<Step.Step<void, never, never>>()
    const workflow = Workflow.make("w", {}, () => step())
    expectTypeOf(Workflow.execute(workflow, { id: "1" })).toExtend<
      Effect.Effect<void, Workflow.RunError, Storage.Storage>
    >()
  })

  it("without schemas it returns nothing and cannot fail", () => {
    expectTypeOf(Step.make("log", { run: Effect.void })).toEqualTypeOf<Step.Step<void, never, never>>()
    // @ts-expect-error a value needs a schema
    Step.make("result", { run: Effect.succeed(1) })
    // @ts-expect-error an error needs a schema
    Step.make("error", { run: Effect.fail(new Declined()) })
  })

  it("refuses results and errors its schemas cannot write", () => {
    // @ts-expect-error a string is no number
    Step.make("result", { success: Schema.Number, run: Effect.succeed("1") })
    // @ts-expect-error Offline is missing from the schema
    Step.make("error", { success: Schema.Number, error: Declined, run: charge })
  })

  it("recover keeps the errors that can still surface", () => {
    const step = Step.make("charge", {
      success: Schema.Number,
      error: Errors,
      run: charge,
      recover: { Offline: Strategy.retry(RetryPolicy.exponential()) }
    })
    expectTypeOf(step).toEqualTypeOf<Step.Step<number, Declined | Recovery.RecoveryExhausted<Offline>, Gateway>>()

    const alternate = Step.make("charge", {
      success: Schema.Number,
      error: Errors,
      run: charge,
      recover: {
        Offline: Strategy.alternate((_: Offline) => Effect.as(Mirror, 1)),
        Declined: Strategy.skip(0)
      }
    })
    expectTypeOf(alternate).toEqualTypeOf<Step.Step<number, never, Gateway | Mirror>>()
  })

  it("refuses strategies whose values the schema cannot write, and unknown tags", () => {
    Step.make("charge", {
      success: Schema.Number,
      error: Errors,
      run: charge,
      // @ts-expect-error the stand-in is no number
      recover: { Offline: Strategy.skip("none") }
    })
    Step.make("charge", {
      success: Schema.Number,
      error: Errors,
      run: charge,
      // @ts-expect-error there is no tag Ofline
      recover: { Ofline: Strategy.abort }
    })
  })

  it("a timeout and onAmbiguous add their errors, and recover may handle them", () => {
    const step = Step.make("charge", {
      success: Schema.Number,
      error: Errors,
      run: charge,
      timeout: "5 seconds",
      onAmbiguous: "fail"
    })
    expectTypeOf(step).toEqualTypeOf<
      Step.Step<number, Offline | Declined | Recovery.AttemptTimeout | Step.StepAmbiguous, Gateway>
    >()
    const handled = Step.make("charge", {
      success: Schema.Number,
      error: Errors,
      run: charge,
      timeout: "5 seconds",
      onAmbiguous: "fail",
      recover: { AttemptTimeout: Strategy.skip(0), StepAmbiguous: Strategy.abort }
    })
    expectTypeOf(handled).toEqualTypeOf<Step.Step<number, Offline | Declined | Step.StepAmbiguous, Gateway>>()
  })

  it("a step inside a step needs a service that no layer provides", () => {
    const inner = Step.make("inner", { success: Schema.Number, run: Effect.succeed(1) })
    const outer = Step.make("outer", { success: Schema.Number, run: Effect.map(inner, (n) => n + 1) })
    expectTypeOf(outer).toEqualTypeOf<Step.Step<number, never, Step.StepInsideStep>>()
  })
})

describe("Workflow, in types", () => {
  const step = Step.make("charge", {
    success: Schema.Number,
    error: Errors,
    run: charge,
    recover: { Offline: Strategy.retry(RetryPolicy.exponential()) }
  })

  it("execute fails with the body's errors and the errors of the runtime", () => {
    const workflow = Workflow.make(
      "checkout",
      { input: Schema.String, success: Schema.Number, error: Errors },
      (order) => {
        expectTypeOf(order).toEqualTypeOf<string>()
        return step
      }
    )
    const run = Workflow.execute(workflow, { id: "1", input: "order" })
    expectTypeOf(run).toEqualTypeOf<
      Effect.Effect<
        number,
        Declined | Recovery.RecoveryExhausted<Offline> | Workflow.RunError,
        Gateway | Storage.Storage
      >
    >()
    // @ts-expect-error the input is a string
    Workflow.execute(workflow, { id: "1", input: 1 })
  })

  it("refuses bodies whose result or errors its schemas cannot write", () => {
    // @ts-expect-error Declined is not in the schema
    Workflow.make("checkout", { success: Schema.Number, error: Offline }, () => step)
    // @ts-expect-error a string is no number
    Workflow.make("checkout", { success: Schema.Number }, () => Effect.succeed("1"))
  })

  it("a step cannot be run outside of a run", () => {
    // @ts-expect-error Run is missing
    const program: Effect.Effect<number, unknown, Gateway> = step
    void program
  })
})

describe.each([Step.transactional, Step.once])("A step of rows, in types", (make: Step.OfRows) => {
  it("has the types of its schemas, its strategies and its timeout", () => {
    const step = make("charge", {
      success: Schema.Number,
      error: Errors,
      run: (_: string) => charge,
      timeout: "1 second",
      recover: { Offline: Strategy.skip(0) }
    })
    expectTypeOf(step).toEqualTypeOf<
      (input: string) => Step.Step<number, Declined | Recovery.AttemptTimeout, Gateway>
    >()
    expectTypeOf(make("log", { run: Effect.void })).toEqualTypeOf<Step.Step<void, never, never>>()
  })

  it("is never ambiguous", () => {
    // @ts-expect-error its rows say whether it happened
    make("log", { run: Effect.void, onAmbiguous: "fail" })
    // @ts-expect-error its rows say whether it happened
    make("log", { run: Effect.void, probe: () => Effect.succeedNone })
  })
})
