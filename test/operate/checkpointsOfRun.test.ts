import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Checkpoint, Step, Workflow } from "effect-recovery"
import { Operator } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"
import { temporaryFile } from "../support/files.js"

const Progress = Checkpoint.make("progress", { schema: Schema.Number })
const step = Step.make("step", { run: Effect.void })
const Flow = Workflow.make("flow", {}, () => Effect.zipRight(step, Effect.asVoid(Progress.save(1))))

const names = (reply: Operator.Reply<"Checkpoints">) => (reply.ok ? reply.value.map(({ name }) => name) : reply.message)

describe("The checkpoints of a run, for an operator", () => {
  it.scopedLive("are those that it saved and those that were created for it, newest first", () =>
    Effect.gen(function* () {
      const storage = SqliteStorage.layer({ filename: yield* temporaryFile("runs.db") })
      yield* Effect.provide(Workflow.execute(Flow, { id: "run-1" }), storage)
      yield* Effect.provide(Workflow.execute(Flow, { id: "run-2" }), storage)
      const operator = yield* Effect.acquireRelease(
        Effect.sync(() => Operator.define({ storage })()),
        (operator) => Effect.promise(() => operator.close())
      )
      const create = (name: string, labels: Readonly<Record<string, string>>) => {
        const none = { environment: {}, artifacts: [], dependencies: [] }
        const request = { _tag: "CreateCheckpoint", name, kind: "manual", state: {}, labels, ...none } as const
        return Effect.promise(() => operator.ask(request))
      }
      yield* create("by-hand", { run: "run-1", repository: "shop" })
      yield* create("elsewhere", { run: "run-2", repository: "shop" })
      yield* create("no-run", { repository: "shop" })
      const list = (request: Omit<Operator.Request<"Checkpoints">, "_tag">) =>
        Effect.map(
          Effect.promise(() => operator.ask({ _tag: "Checkpoints", ...request })),
          names
        )
      assert.deepStrictEqual(yield* list({ run: "run-1" }), ["by-hand", "progress"])
      assert.deepStrictEqual(yield* list({ run: "run-1", limit: 1 }), ["by-hand"])
      assert.deepStrictEqual(yield* list({ run: "run-1", repository: "shop" }), ["by-hand"])
      assert.deepStrictEqual(yield* list({ run: "run-1", name: "progress" }), ["progress"])
      assert.deepStrictEqual(yield* list({ run: "run-3" }), [])
      assert.strictEqual((yield* list({})).length, 5)
    })
  )
})
