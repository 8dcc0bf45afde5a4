import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { Config, Effect, Layer, Schema } from "effect"
import { RetryPolicy, Step, Strategy, Workflow } from "effect-recovery"
import { Dashboard } from "effect-recovery/dashboard"
import { Escalation, Insights, Production, RecoveryManager } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"

class Offline extends Schema.TaggedError<Offline>()("Offline", {}) {}

const deploy = Step.make("deploy", {
  error: Offline,
  run: () => Effect.fail(new Offline()),
  recover: { Offline: Strategy.retry() }
})

const Release = Workflow.make("release", { error: Offline }, () => Effect.mapError(deploy(), () => new Offline()))

const server = Layer.unwrapEffect(
  Effect.map(Config.withDefault(Config.port("PORT"), 0), (port) =>
    NodeHttpServer.layer(createServer, { host: "127.0.0.1", port })
  )
)

/** Everything the process runs with. Each part sees what it needs, whatever the order here. */
export const main = Production.layer({
  storage: SqliteStorage.layer({ filename: ":memory:" }),
  workflows: [Release],
  worker: { concurrency: 20 },
  retry: RetryPolicy.exponential({ initialDelay: "10 millis", maxRetries: 2 }),
  escalation: { rules: [Escalation.rule({ threshold: 10 })], sinks: [Escalation.log] },
  dashboard: Dashboard.layer({ where: "releases" }).pipe(Layer.provide(server))
})

// A process that does nothing else: NodeRuntime.runMain(Layer.launch(main)). SIGTERM lets the running steps end.
export const program = Effect.gen(function* () {
  yield* Workflow.start(Release, { id: "v1" })
  const error = yield* Effect.flip(Workflow.join(Release, "v1"))
  yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
  const failures = yield* RecoveryManager.failures({ run: "v1" })
  const { url } = yield* Dashboard.Dashboard
  return { error: error._tag, recorded: failures.length, page: url.startsWith("http://127.0.0.1:") }
}).pipe(Effect.provide(main))
