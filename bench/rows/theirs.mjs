import * as ClusterWorkflowEngine from "@effect/cluster/ClusterWorkflowEngine"
import * as SingleRunner from "@effect/cluster/SingleRunner"
import * as SqlClient from "@effect/sql/SqlClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Activity from "@effect/workflow/Activity"
import * as TheirWorkflow from "@effect/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Schema from "effect/Schema"
import { numbers, Result } from "./common.mjs"

/** The same as `makeOurs`, on @effect/workflow over a single runner with SQLite. */
export const makeTheirs = (body) => {
  const workflow = TheirWorkflow.make({
    name: "bench",
    payload: { id: Schema.String },
    success: Schema.Number,
    idempotencyKey: ({ id }) => id
  })
  const step = (n, id) =>
    Activity.make({ name: `step-${n}`, success: Result, execute: Effect.as(body(n, id), { id, n }) })
  const handler = workflow.toLayer(({ id }) =>
    Effect.reduce(numbers, 0, (sum, n) => Effect.map(step(n, id), (result) => sum + result.n))
  )
  const full = Layer.effectDiscard(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`PRAGMA synchronous = FULL`))
  return {
    execute: (id) => workflow.execute({ id }),
    layer: (filename, durability) => {
      const client = SqliteClient.layer({ filename })
      const sql = durability === "power-loss" ? Layer.provideMerge(full, client) : client
      return handler.pipe(
        Layer.provideMerge(ClusterWorkflowEngine.layer),
        Layer.provideMerge(SingleRunner.layer({ runnerStorage: "memory" })),
        Layer.provide(sql),
        Layer.provide(Logger.minimumLogLevel(LogLevel.None))
      )
    }
  }
}
