import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { RetryPolicy, Step, Transaction, Workflow } from "effect-recovery"
import { hostileErrors } from "../support/hostile.js"
import { memory, sqlite } from "../support/storages.js"

class NoStock extends Schema.TaggedError<NoStock>()("NoStock", {}) {}

const noRetries = RetryPolicy.layer(RetryPolicy.none)

const failsToUndo = <A, E>(exit: Exit.Exit<A, E>, undone: ReadonlyArray<string>) => {
  assert.deepStrictEqual(undone, ["third", "first"])
  const failed = Option.getOrThrow(Exit.isFailure(exit) ? Transaction.rollbackFailure(exit.cause) : Option.none())
  assert.lengthOf(failed.failures, 1)
  assert.include(failed.failures[0]?.undo, "second")
  assert.isString(failed.message)
  assert.deepStrictEqual(failed.error, new NoStock())
}

describe("A compensation that fails with a hostile error stops no other compensation", () => {
  for (const [title, make] of hostileErrors) {
    for (const way of ["fails", "dies"] as const) {
      const hostile = (): Effect.Effect<never, unknown> => (way === "fails" ? Effect.fail(make()) : Effect.die(make()))

      it.effect(`in memory, ${way}: ${title}`, () =>
        Effect.gen(function* () {
          const undone: Array<string> = []
          const work = (name: string) =>
            Transaction.withCompensation(
              Effect.void,
              () => (name === "second" ? hostile() : Effect.sync(() => undone.push(name))),
              { name }
            )
          const body = Effect.zipRight(Effect.forEach(["first", "second", "third"], work), new NoStock())
          failsToUndo(yield* Effect.exit(Effect.provide(Transaction.run(body), noRetries)), undone)
        })
      )
    }
  }

  for (const backend of [memory, sqlite]) {
    it.scopedLive(`in a run on ${backend.name}, whose outcome says the same at every execution`, () =>
      Effect.gen(function* () {
        const layer = Layer.merge((yield* backend.make).join(), noRetries)
        yield* Effect.forEach(hostileErrors, ([title, make]) =>
          Effect.gen(function* () {
            const undone: Array<string> = []
            const step = (name: string) =>
              Step.make(name, {
                run: Effect.void,
                compensate: () => (name === "second" ? Effect.fail(make()) : Effect.sync(() => undone.push(name)))
              })
            const Saga = Workflow.make("saga", { error: NoStock }, () =>
              Transaction.run(Effect.zipRight(Effect.forEach(["first", "second", "third"], step), new NoStock()))
            )
            const run = Effect.exit(Workflow.execute(Saga, { id: title }))
            failsToUndo(yield* run, undone)
            const again = yield* run
            failsToUndo(again, undone)
            assert.isTrue(Exit.isFailure(again) && Cause.isFailure(again.cause), title)
          })
        ).pipe(Effect.provide(layer))
      })
    )
  }
})
