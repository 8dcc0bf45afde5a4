import { assert, describe, it } from "@effect/vitest"
import { DurableDeferred, Workflow as Stock } from "@effect/workflow"
import type { WorkflowEngine, WorkflowInstance } from "@effect/workflow/WorkflowEngine"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Storage } from "effect-recovery"
import { RecoveryEngine } from "effect-recovery/workflow-engine"
import { backends, type Place } from "../support/storages.js"
import { eventually } from "../support/time.js"

const Paid = DurableDeferred.make("paid", { success: Schema.Number })
const Unasked = DurableDeferred.make("unasked", { success: Schema.Number })

const payload = { id: Schema.String }
const idempotencyKey = ({ id }: { readonly id: string }) => id
const error = Schema.Literal("not yet")
const Order = Stock.make({ name: "order", payload, success: Schema.Number, error, idempotencyKey })
const Retried = Order.annotate(Stock.SuspendOnFailure, true)
const Child = Stock.make({ name: "child", payload, success: Schema.Number, idempotencyKey })

type Engine = WorkflowEngine
type Kind = "deferred" | "child" | "resume" | "interrupt" | "unasked"

const succeed = (workflow: Stock.Any, deferred: typeof Paid, executionId: string) =>
  DurableDeferred.succeed(deferred, {
    token: DurableDeferred.tokenFromExecutionId(deferred, { workflow, executionId }),
    value: 7
  })

/** What the workflow asks for, and what comes at the moment of its suspension. */
const kinds: Record<
  Kind,
  {
    readonly workflow: typeof Order
    readonly ask: (pass: number) => Effect.Effect<number, "not yet", Engine | WorkflowInstance>
    readonly answer: (id: string) => Effect.Effect<unknown, unknown, Engine>
  }
> = {
  deferred: {
    workflow: Order,
    ask: () => DurableDeferred.await(Paid),
    answer: (id) => succeed(Order, Paid, id)
  },
  child: {
    workflow: Order,
    ask: () => Child.execute({ id: "1" }),
    answer: () =>
      Effect.flatMap(Child.executionId({ id: "1" }), (child) =>
        Effect.zipRight(
          succeed(Child, Paid, child),
          eventually(Child.poll(child), (result) => result?._tag === "Complete")
        )
      )
  },
  resume: {
    workflow: Retried,
    ask: (pass) => (pass === 1 ? Effect.fail("not yet") : Effect.succeed(7)),
    answer: (id) => Retried.resume(id)
  },
  interrupt: {
    workflow: Order,
    ask: () => DurableDeferred.await(Paid),
    answer: (id) => Order.interrupt(id)
  },
  unasked: {
    workflow: Order,
    ask: () => DurableDeferred.await(Paid),
    answer: (id) => succeed(Order, Unasked, id)
  }
}

type Moment = "after the program has asked" | "after the run has read its signals"
const moments: ReadonlyArray<Moment> = ["after the program has asked", "after the run has read its signals"]

/** Runs the workflow, and answers at this moment of its first pass. */
const start = Effect.fnUntraced(function* (place: Place, kind: Kind, moment: Moment) {
  const { answer, ask, workflow } = kinds[kind]
  const id = yield* workflow.executionId({ id: "1" })
  const state = { passes: 0 }
  let pending: Effect.Effect<unknown> = Effect.void
  const answerNow = Effect.suspend(() => {
    const now = pending
    pending = Effect.void
    return now
  })
  const { store } = place
  const answering: Storage.Store = {
    ...store,
    suspend: (lease, suspension) => {
      const isMoment = moment === "after the run has read its signals" && lease.run === id
      return Effect.zipRight(isMoment ? answerNow : Effect.void, store.suspend(lease, suspension))
    }
  }
  const body = Effect.suspend(() => {
    const asked = ask(++state.passes)
    return moment === "after the program has asked" ? Effect.ensuring(asked, answerNow) : asked
  })
  const workflows = Layer.merge(
    workflow.toLayer(() => body),
    Child.toLayer(() => DurableDeferred.await(Paid))
  )
  const storage = Layer.scoped(Storage.Storage, Storage.make(answering, { owner: "worker", lease: "1 hour" }))
  const context = yield* Layer.build(
    Layer.provideMerge(workflows, Layer.provide(RecoveryEngine.layer({ drain: 0, sweep: 20 }), storage))
  )
  pending = Effect.provide(Effect.orDie(answer(id)), context)
  yield* Effect.provide(workflow.execute({ id: "1" }, { discard: true }), context)
  /** The run waits, and only a signal makes it due. */
  const waits = eventually(
    Effect.map(Effect.map(store.find(id), Option.getOrThrow), ({ dueAt, owner }) => {
      return owner === undefined && dueAt === Storage.untilSignalled
    }),
    (isWaiting) => isWaiting
  )
  const result = Effect.exit(Effect.provide(workflow.execute({ id: "1" }), context))
  return { context, id, state, waits, result }
})

for (const backend of backends) {
  describe(`${backend.name}: a stock workflow that suspends`, () => {
    for (const moment of moments) {
      for (const kind of ["deferred", "child", "resume", "interrupt"] as const) {
        it.scopedLive(`continues with what came ${moment}: ${kind}`, () =>
          Effect.gen(function* () {
            const { result, waits } = yield* start(yield* backend.make, kind, moment)
            const lost = Effect.as(waits, "it waits for what has come")
            const exit = yield* Effect.raceFirst(result, lost)
            if (kind === "interrupt") assert.isTrue(typeof exit !== "string" && Exit.isInterrupted(exit))
            else assert.deepStrictEqual(exit, Exit.succeed(7))
          })
        )
      }

      it.scopedLive(`looks once for a signal that came ${moment} and that it never asks for`, () =>
        Effect.gen(function* () {
          const { context, id, result, state, waits } = yield* start(yield* backend.make, "unasked", moment)
          yield* waits
          assert.strictEqual(state.passes, 2)
          yield* Effect.provide(succeed(Order, Paid, id), context)
          assert.deepStrictEqual(yield* result, Exit.succeed(7))
          assert.strictEqual(state.passes, 3)
        })
      )
    }
  })
}
