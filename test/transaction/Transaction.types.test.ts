import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import {
  Checkpoint,
  Parameters,
  RetryPolicy,
  State,
  Step,
  type Storage,
  Strategy,
  Transaction,
  Workflow
} from "effect-recovery"
import { describe, expectTypeOf, it } from "vitest"

class Bad extends Schema.TaggedError<Bad>()("Bad", {}) {}
class Gateway extends Context.Tag("Gateway")<
  Gateway,
  { readonly refund: (key: string) => Effect.Effect<void, Bad> }
>() {}

const charge = Step.make("charge", {
  success: Schema.Number,
  run: (amount: number) => Effect.succeed(amount),
  compensate: ({ idempotencyKey, input, output }) => {
    expectTypeOf(input).toEqualTypeOf<number>()
    expectTypeOf(output).toEqualTypeOf<Option.Option<number>>()
    return Effect.flatMap(Gateway, ({ refund }) => refund(idempotencyKey))
  }
})

describe("the types of transactions", () => {
  it("a step with a compensation needs the compensation's services and a transaction", () => {
    expectTypeOf(charge(1)).toMatchTypeOf<
      Effect.Effect<number, never, Gateway | Transaction.Transaction | Workflow.Run>
    >()
    // @ts-expect-error Transaction is missing
    const withoutTransaction: Effect.Effect<number, never, Gateway | Workflow.Run> = charge(1)
    void withoutTransaction
    const whole = Transaction.run(Effect.zipRight(charge(1), new Bad()))
    expectTypeOf(whole).toEqualTypeOf<
      Effect.Effect<never, Bad | Transaction.RollbackFailed<Bad>, Gateway | Workflow.Run>
    >()
  })

  it("a compensation's error appears in RollbackFailed, not in the transaction's errors", () => {
    const undone = Effect.succeed(1).pipe(Transaction.withCompensation(() => Effect.fail("no")))
    expectTypeOf(Transaction.run(undone)).toEqualTypeOf<
      Effect.Effect<number, Transaction.RollbackFailed<never>, never>
    >()
  })

  it("rollbackWhen receives the transaction's errors", () => {
    Effect.fail(new Bad()).pipe(
      Transaction.run({
        rollbackWhen: (error) => {
          expectTypeOf(error).toEqualTypeOf<Bad>()
          return true
        }
      })
    )
  })

  it("a workflow accepts the failures of nested transactions", () => {
    const inner = Transaction.run(Effect.zipRight(charge(1), new Bad()), { name: "inner" })
    const workflow = Workflow.make("nested", { error: Bad }, () => Transaction.run(inner))
    expectTypeOf(Workflow.execute(workflow, { id: "1" })).toMatchTypeOf<
      Effect.Effect<
        void,
        | Bad
        | Transaction.RollbackFailed<Bad>
        | Transaction.RollbackFailed<Bad | Transaction.RollbackFailed<Bad>>
        | Workflow.RunError,
        Gateway | Storage.Storage
      >
    >()
  })

  it("a scoped transaction needs a scope, takes the requirement away and adds no error", () => {
    const trip = Effect.zipRight(charge(1), new Bad())
    const scoped = Effect.gen(function* () {
      const transaction = yield* Transaction.scoped({ name: "trip" })
      return yield* Effect.provideService(trip, Transaction.Transaction, transaction)
    })
    expectTypeOf(Transaction.scoped()).toEqualTypeOf<
      Effect.Effect<Transaction.TransactionService, never, Scope.Scope>
    >()
    expectTypeOf(scoped).toEqualTypeOf<Effect.Effect<never, Bad, Gateway | Workflow.Run | Scope.Scope>>()
    expectTypeOf(Effect.scoped(scoped)).toEqualTypeOf<Effect.Effect<never, Bad, Gateway | Workflow.Run>>()
    // @ts-expect-error a scope is missing
    const withoutScope: Effect.Effect<never, Bad, Gateway | Workflow.Run> = scoped
    void withoutScope
  })

  it("an effect that has not been given the scoped transaction still needs one", () => {
    const outside = Effect.scoped(Effect.zipRight(Transaction.scoped(), charge(1)))
    expectTypeOf(outside).toEqualTypeOf<
      Effect.Effect<number, never, Gateway | Transaction.Transaction | Workflow.Run>
    >()
    // @ts-expect-error Transaction is missing
    const compensatesOutside: Effect.Effect<number, never, Gateway | Workflow.Run> = outside
    void compensatesOutside
  })

  it("the layer of a transaction takes the requirement away and needs nothing", () => {
    expectTypeOf(Transaction.layer({ name: "trip" })).toEqualTypeOf<Layer.Layer<Transaction.Transaction>>()
    const trip = Effect.zipRight(charge(1), new Bad()).pipe(Effect.provide(Transaction.layer()))
    expectTypeOf(trip).toEqualTypeOf<Effect.Effect<never, Bad, Gateway | Workflow.Run>>()
    Transaction.layer({
      rollbackWhen: (error) => {
        expectTypeOf(error).toEqualTypeOf<unknown>()
        return true
      }
    })
  })

  it("strategies that rewind need a run, which workflows are", () => {
    const step = Step.make("step", { error: Bad, run: new Bad(), recover: { Bad: Strategy.restart() } })
    const workflow = Workflow.make("rewinds", { error: Bad }, () => step)
    expectTypeOf(Workflow.execute(workflow, { id: "1" })).toMatchTypeOf<Effect.Effect<void, unknown, Storage.Storage>>()
    const Model = Parameters.make("model", Schema.Number, 1)
    Step.make("patched", {
      error: Bad,
      run: new Bad(),
      recover: { Bad: Strategy.modify(Model, (n) => n + 1, RetryPolicy.none) }
    })
    // @ts-expect-error the parameters are a number
    Strategy.modify(Model, () => "one")
  })

  it("a state has the type of its schema", () => {
    const Count = State.make("count", Schema.NumberFromString, 0)
    expectTypeOf(Count.get).toEqualTypeOf<Effect.Effect<number, never, State.Cells>>()
    expectTypeOf(Count.set(1)).toEqualTypeOf<Effect.Effect<void, never, State.Cells>>()
    const Checked = State.make("checked", Schema.Number, 0, { validate: () => undefined })
    expectTypeOf(Checked.set(1)).toEqualTypeOf<Effect.Effect<void, State.StateRejected, State.Cells>>()
    // @ts-expect-error it is a number
    Count.set("1")
  })

  it("a checkpoint has the type of its schema and needs its checks' services", () => {
    const Progress = Checkpoint.make("progress", {
      schema: Schema.Struct({ done: Schema.Number }),
      checks: [
        Checkpoint.dependency(
          "gateway",
          Effect.flatMap(Gateway, ({ refund }) => refund(""))
        )
      ]
    })
    expectTypeOf(Progress.restore("1")).toEqualTypeOf<
      Effect.Effect<
        Checkpoint.Restored<{ readonly done: number }>,
        Checkpoint.CheckpointNotFound | Checkpoint.CheckpointInvalid | Storage.StorageError | Workflow.JournalError,
        Storage.Storage | Gateway
      >
    >()
    // @ts-expect-error done is missing
    Progress.save({})
  })
})
