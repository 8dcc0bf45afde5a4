import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Storage, Workflow } from "effect-recovery"
import { processOn } from "../support/durable.js"
import { backends } from "../support/storages.js"

class Declined extends Schema.TaggedError<Declined>()("Declined", { reason: Schema.String }) {}

const Order = Workflow.make("order", { error: Declined, input: Schema.String }, (reason) =>
  reason === "" ? Effect.void : new Declined({ reason })
)
const Newer = Workflow.make("order", { version: "2" }, () => Effect.void)

const ids = (query: Parameters<typeof Workflow.list>[0]) =>
  Effect.map(Workflow.list(query), (runs) => runs.map(({ id }) => id))

for (const backend of backends) {
  const setup = processOn(backend)

  describe(`${backend.name}: a list of runs`, () => {
    it.scoped("is of one version, with labels, of a time, and has pages", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          const execute = (id: string, tenant: string) =>
            Workflow.execute(Order, { id, input: "", labels: { tenant, kind: "web" } })
          yield* execute("1", "acme")
          yield* TestClock.adjust("1 hour")
          const later = new Date(yield* Effect.flatMap(Storage.Storage, ({ now }) => now))
          yield* execute("2", "acme")
          yield* execute("3", "other")
          yield* Workflow.execute(Newer, { id: "4" })
          assert.deepStrictEqual(yield* ids({ labels: { tenant: "acme", kind: "web" } }), ["2", "1"])
          assert.deepStrictEqual(yield* ids({ labels: { tenant: "acme", kind: "batch" } }), [])
          assert.deepStrictEqual(yield* ids({ version: "2" }), ["4"])
          assert.deepStrictEqual(yield* ids({ since: later, labels: { tenant: "acme" } }), ["2"])
          assert.deepStrictEqual(yield* ids({ until: later }), ["1"])
          const [, last] = yield* Workflow.list({ limit: 2 })
          assert.deepStrictEqual(yield* ids({ limit: 2, before: last?.key }), ["2", "1"])
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("tells of a failed run what it failed with, and of a held one why", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          const storage = yield* Storage.Storage
          yield* Effect.exit(Workflow.execute(Order, { id: "failed", input: "expired" }))
          yield* Workflow.start(Order, { id: "held", input: "" })
          yield* storage.hold("held", { id: "manual", reason: "look first" })
          const [held, failed] = yield* Workflow.list()
          assert.strictEqual(
            Option.getOrThrow(Option.fromNullable(failed?.failure).pipe(Option.flatten)).tag,
            "Declined"
          )
          assert.strictEqual(held?.status, "held")
          const { id, reason } = Option.getOrThrow(Option.fromNullable(held?.hold).pipe(Option.flatten))
          assert.deepStrictEqual({ id, reason }, { id: "manual", reason: "look first" })
          assert.deepStrictEqual(yield* ids({ status: "held" }), ["held"])
        }).pipe(Effect.provide(layer))
      })
    )
  })
}
