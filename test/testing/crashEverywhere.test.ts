import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Step, Transaction, Workflow } from "effect-recovery"
import { Ledger, Scorecard, Testing } from "effect-recovery/testing"
import { vi } from "vitest"
import { Bad, flow, undoable } from "../support/durable.js"

describe("Testing.crashEverywhere", () => {
  it.live("leaves no timer that would keep the program from ending", () =>
    Effect.gen(function* () {
      const [set, clear] = [vi.spyOn(globalThis, "setInterval"), vi.spyOn(globalThis, "clearInterval")]
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.restoreAllMocks()))
      const card = yield* Testing.crashEverywhere(flow(Step.make("a", { run: Ledger.done("a") })), { input: undefined })
      assert.isAbove(card.crashes, 0)
      const cleared = new Set(clear.mock.calls.map(([timer]) => timer))
      const left = set.mock.results.filter(({ value }) => !cleared.has(value))
      assert.strictEqual(left.length, 0, `${card.crashes} crashes`)
    }).pipe(Effect.scoped)
  )

  it.live("does not blame a step for effects that a cut attempt repeats", () =>
    Effect.gen(function* () {
      const mail = Step.make("mail", { run: Effect.zipRight(Ledger.done("mail"), Ledger.done("mail")) })
      const card = yield* Testing.crashEverywhere(
        Workflow.make("mail", {}, () => mail),
        { input: undefined }
      )
      assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
    })
  )

  it.live("reports two outcomes with the same message as different", () =>
    Effect.gen(function* () {
      class Same extends Schema.TaggedError<Same>()("Same", { n: Schema.Number }) {
        override get message(): string {
          return "same"
        }
      }
      let n = 0
      const step = Step.make("step", { error: Same, run: Effect.suspend(() => Effect.fail(new Same({ n: ++n }))) })
      const card = yield* Testing.crashEverywhere(
        Workflow.make("same", { error: Same }, () => step),
        { input: undefined }
      )
      assert.isAbove(card.outcomes.length, 0)
    })
  )

  it.live("reports effects outside of steps that are repeated", () =>
    Effect.gen(function* () {
      const naked = Workflow.make("naked", { error: Bad }, () =>
        Ledger.done("naked").pipe(Effect.zipRight(undoable("a")), Transaction.run())
      )
      const card = yield* Testing.crashEverywhere(naked, { input: undefined })
      assert.isAbove(card.duplicated.length, 0)
    })
  )
})

describe("Testing.crashEverywhere and the clock", () => {
  it.live("leaves no test clock behind", () =>
    Effect.gen(function* () {
      yield* Testing.crashEverywhere(flow(Effect.void), { input: undefined })
      yield* Effect.sleep("1 millis")
    })
  )
})
