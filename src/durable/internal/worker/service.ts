import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { millis, whole } from "../../../resilience/internal/kernel/options.js"
import { using } from "../../../resilience/internal/kernel/standing.js"
import * as Storage from "../../../storage/Storage.js"
import type { RunSchedule } from "../../RunSchedule.js"
import type { Options } from "../../Worker.js"
import type { Workflow } from "../../Workflow.js"
import { runSchedules } from "../schedule/runSchedules.js"
import { writeLimits } from "./queueLimits.js"
import { distinctSchedules, scheduleHealth } from "./schedules.js"
import { healthOf, makeWorker, type Settings } from "./worker.js"

/** The options of a worker with their defaults; throws `InvalidOption`. */
export const settingsOf = ({
  concurrency = 10,
  drain = "10 seconds",
  patience = "1 second",
  queues = [],
  stalled = "1 minute",
  sweep = "1 second"
}: Options<ReadonlyArray<RunSchedule<unknown>>>): Settings => ({
  concurrency: whole("concurrency", concurrency, 1),
  queues: queues.map(({ limits }) => limits),
  sweepMillis: millis("sweep", sweep, 1),
  patience: millis("patience", patience),
  drainMillis: millis("drain", drain),
  stalledMillis: millis("stalled", stalled, 1)
})

/** Starts a worker with its schedules. `layer` names it in warnings. */
export const makeService = Effect.fnUntraced(function* (
  layer: string,
  workflows: ReadonlyArray<Workflow<never, unknown, unknown, unknown, unknown>>,
  schedules: ReadonlyArray<RunSchedule<unknown>>,
  settings: Settings
) {
  const definitions = workflows.map(({ definition }) => definition)
  const storage = yield* Storage.Storage
  const distinct = yield* distinctSchedules(schedules.map(({ definition }) => definition))
  yield* using(layer)
  const state = yield* makeWorker(definitions, settings)
  // Retried, since the limits are kept without the record, which only shows them.
  const writing = writeLimits(storage, settings.queues)
  yield* Effect.forkScoped(Effect.retry(writing, Schedule.spaced(settings.sweepMillis)))
  const scheduled = yield* runSchedules(storage, distinct, settings.sweepMillis)
  const health = Effect.map(healthOf(storage, definitions, state, settings), (health) => ({
    ...health,
    schedules: scheduleHealth(distinct, scheduled)
  }))
  yield* Effect.logInfo(startLine(workflows, distinct, settings))
  return { state, service: { health } }
})

/** Runs of a workflow, version or queue that it does not name wait for another worker. */
const startLine = (
  workflows: ReadonlyArray<{ readonly name: string; readonly version: string }>,
  schedules: ReadonlyArray<{ readonly name: string }>,
  { concurrency, queues }: Settings
): string => {
  const list = (what: string, names: ReadonlyArray<string>) =>
    names.length === 0 ? [] : [`${what}${names.length === 1 ? "" : "s"} ${names.join(", ")}`]
  const parts = [
    ...list(
      "workflow",
      workflows.map(({ name, version }) => `${name} (version ${version})`)
    ),
    ...list("queue", [...new Set(queues.map(({ name }) => name))]),
    ...list(
      "schedule",
      schedules.map(({ name }) => name)
    ),
    `at most ${concurrency} run${concurrency === 1 ? "" : "s"} at once`
  ]
  return `Worker starts: ${parts.join("; ")}`
}
