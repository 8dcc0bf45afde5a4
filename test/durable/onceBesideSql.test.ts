import { SqlClient } from "@effect/sql/SqlClient"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Checkpoint, State, Step, Workflow } from "effect-recovery"
import { SqlStorage } from "effect-recovery/sql"
import { temporaryFile } from "../support/files.js"
import { inShops, ordersOf } from "../support/shops.js"

inShops("a step with rows in another database, whose journal is on a SqlClient,", (shop) => {
  it.scopedLive("may use its storage inside", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const journal = SqlStorage.layer().pipe(Layer.provide(StockClient.layer({ filename })))
      const progress = Checkpoint.make("progress", { schema: Schema.Number })
      const total = State.make("total", Schema.Number, 0, { scope: "global" })
      const step = Step.once("place", {
        success: Schema.Number,
        run: Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* sql`INSERT INTO orders VALUES (1, 'book')`
          yield* progress.save(7)
          yield* total.update((n) => n + 1)
          return yield* total.get
        }).pipe(Effect.catchTag("SqlError", Effect.die))
      })
      const workflow = Workflow.make("order", { success: Schema.Number }, () => step)
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Workflow.execute(workflow, { id: "1" }), 1)
        assert.deepStrictEqual(yield* ordersOf, [1])
        assert.strictEqual((yield* Checkpoint.list({})).length, 1)
      }).pipe(Effect.provide(Layer.merge(journal, yield* shop.open)))
    })
  )
})
