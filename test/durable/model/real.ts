import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Checkpoint, RetryPolicy, State, Step, type Storage, Strategy, Transaction, Workflow } from "effect-recovery"
import type { Form } from "../../support/transactionForms.js"
import type { Outcome } from "./model.js"
import type { Node, Program, Target } from "./program.js"

class Bad extends Schema.TaggedError<Bad>()("Bad", {}) {}

/** State outside of the run that outlives interruption. */
interface World {
  readonly form: Form
  readonly ledger: Array<string>
  readonly interruptedOnce: Set<string>
  readonly failedOnce: Set<string>
  /** Completed when a step is ready to be interrupted. */
  interrupt: Deferred.Deferred<void>
}

type Body = Effect.Effect<
  void,
  Workflow.Failure<Bad> | Workflow.RunError,
  Workflow.Run | State.Cells | Storage.Storage | Strategy.Rewinder | Transaction.Transaction
>

const Sum = State.make("sum", Schema.Number, 0)

const strategyOf = (to: Target) => {
  if (to === "start") return Strategy.restart({ times: 1 })
  if (to === "transaction") return Strategy.rollback(undefined, { times: 1 })
  if (to === "checkpoint") return Strategy.resume(undefined, { times: 1 })
  return Strategy.restartFrom(to.step, { times: 1 })
}

const bodyOf = (nodes: ReadonlyArray<Node>, world: World): Body =>
  Effect.forEach(nodes, (node) => visit(node, world), { discard: true })

const note = (world: World, line: string) => Effect.sync(() => void world.ledger.push(line))

const visit = (node: Node, world: World): Body => {
  switch (node._tag) {
    case "Write":
      return Sum.update((n) => n + node.add)
    case "Checkpoint":
      return Effect.asVoid(Checkpoint.make(node.name, { schema: Schema.String }).save(node.name))
    case "Transaction": {
      const inside = typedRollback(world.form.transact(bodyOf(node.body, world), { name: node.name }))
      return node.handled
        ? Effect.catchAll(inside, (error) => (isMachinery(error) ? Effect.fail(error) : Effect.void))
        : inside
    }
    case "Rewind":
      return Step.make(node.name, {
        error: Bad,
        run: Effect.suspend(() => {
          world.ledger.push(`begin ${node.name}`)
          const first = !world.failedOnce.has(node.name)
          world.failedOnce.add(node.name)
          return first ? Effect.fail(new Bad()) : Effect.void
        }),
        recover: { Bad: strategyOf(node.to) }
      })
    case "Step": {
      const run = Effect.gen(function* () {
        world.ledger.push(`begin ${node.name}`)
        if (node.interrupted && !world.interruptedOnce.has(node.name)) {
          world.interruptedOnce.add(node.name)
          yield* Deferred.succeed(world.interrupt, undefined)
          yield* Effect.never
        }
        world.ledger.push(`end ${node.name}`)
        if (node.fails) yield* new Bad()
      })
      const undo = ({ output }: Step.ToUndo<void, void>) =>
        note(world, `undo ${node.name} ${Option.isSome(output) ? "full" : "half"}`)
      if (node.kind === "undone") return Step.make(node.name, { error: Bad, run, compensate: undo })
      return Step.make(node.name, { error: Bad, run, pivot: node.kind === "pivot" })
    }
  }
}

/** A scope can only die with an incomplete rollback; the model expects it as an error, as of `Transaction.run`. */
const typedRollback = <A, E, R>(self: Effect.Effect<A, E | Transaction.RollbackFailed<E>, R>) =>
  Effect.catchAllCause(self, (cause): Effect.Effect<A, E | Transaction.RollbackFailed<E>> => {
    if (Cause.isInterrupted(cause)) return Effect.failCause(cause)
    const failed = Option.filter(Transaction.rollbackFailure(cause), () => Cause.isDie(cause))
    // The rollback is that of `self`.
    return Option.match(failed as Option.Option<Transaction.RollbackFailed<E>>, {
      onNone: () => Effect.failCause(cause),
      onSome: Effect.fail
    })
  })

const isMachinery = (error: Workflow.Failure<Bad> | Workflow.RunError): error is Workflow.Machinery =>
  error._tag === "StorageError" || error._tag === "JournalError"

const nameOf = (error: unknown): string => {
  if (error instanceof Transaction.RollbackFailed) return `RollbackFailed ${nameOf(error.error)}`
  if (error instanceof Strategy.RewindRefused) return `Refused ${error.reason}`
  return error instanceof Bad ? "Bad" : String(error)
}

/** Executes a program as a workflow, again after each interruption, until the run has an outcome. */
export const execute = (
  program: Program,
  form: Form,
  storage: Layer.Layer<Storage.Storage, Storage.StorageError>
): Effect.Effect<Outcome, unknown> =>
  Effect.gen(function* () {
    const world: World = {
      form,
      ledger: [],
      interruptedOnce: new Set(),
      failedOnce: new Set(),
      interrupt: yield* Deferred.make<void>()
    }
    // Compensations need a transaction; this one never rolls back, so it has no effect.
    const body = Effect.suspend(() => bodyOf(program, world))
    const workflow = Workflow.make("model", { error: Bad }, () => body.pipe(provideNoTransaction))
    for (;;) {
      world.interrupt = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(Effect.exit(Workflow.execute(workflow, { id: "1" })))
      const exit = yield* Effect.raceFirst(Fiber.join(fiber), Effect.as(Deferred.await(world.interrupt), undefined))
      if (exit === undefined) {
        yield* Fiber.interrupt(fiber)
        continue
      }
      const state = Option.getOrElse(yield* State.read(Sum, "1"), () => 0)
      const outcome =
        exit._tag === "Success" ? "done" : nameOf(exit.cause._tag === "Fail" ? exit.cause.error : exit.cause)
      return { ledger: world.ledger, outcome, state }
    }
  }).pipe(Effect.provide(Layer.merge(storage, RetryPolicy.layer(RetryPolicy.none))))

/** Programs of the model may compensate outside of transactions, where only a rewind compensates. */
const provideNoTransaction = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.provideService(self, Transaction.Transaction, {
    memory: undefined,
    compensated: (_, self) => self
  })
