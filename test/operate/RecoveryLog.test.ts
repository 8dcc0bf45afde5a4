import { assert, describe, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Events, Recovery, RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"
import { RecoveryLog } from "effect-recovery/operate"

class Offline extends Data.TaggedError("Offline")<{ readonly message: string }> {}

describe("RecoveryLog", () => {
  it.effect("logs each recovery and each failed run, and outer observers still receive their events", () =>
    Effect.gen(function* () {
      const entries: Array<RecoveryLog.Entry> = []
      const seen: Array<string> = []
      const write = (entry: RecoveryLog.Entry) =>
        Effect.suspend(() => (entries.push(entry) === 1 ? Effect.die("what it dies of changes nothing") : Effect.void))
      const layer = RecoveryLog.layer(write).pipe(
        Layer.provideMerge(Events.layer(({ _tag }) => Effect.sync(() => void seen.push(_tag)))),
        Layer.merge(Storage.layerMemory)
      )
      const policy = RetryPolicy.fixed({ maxRetries: 1, delay: 0 })
      const both = Strategy.sequence(Strategy.retry(policy), Strategy.skip("x"))
      const Order = Workflow.make("order", { error: Schema.String }, () =>
        Step.make("pay", { error: Schema.String, run: Effect.fail("declined") })
      )
      yield* Effect.gen(function* () {
        yield* Effect.fail(new Offline({ message: "connection refused" })).pipe(
          Recovery.recover({ Offline: both }, { name: "search" })
        )
        yield* Effect.flip(Workflow.execute(Order, { id: "o1" }))
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(entries[0], {
        timestamp: "1970-01-01T00:00:00.000Z",
        event: "recovery",
        success: true,
        outcome: "recovered",
        strategy: "skip",
        run: null,
        workflow: null,
        step: null,
        recovery: "search",
        error_type: "Offline",
        error_message: "connection refused",
        category: "network",
        severity: "medium",
        fingerprint: entries[0]?.fingerprint ?? "",
        attempts: 2,
        elapsed_ms: 0
      })
      assert.deepStrictEqual([entries[1]?.event, entries[1]?.run, entries[1]?.workflow], ["run_failed", "o1", "order"])
      assert.strictEqual(entries.length, 2)
      assert.deepStrictEqual(
        seen.filter((tag) => tag === "RecoveryEnded" || tag === "RunFinished"),
        ["RecoveryEnded", "RunFinished"]
      )
    })
  )
})
