import { Effect, Layer, Option, Schema } from "effect"
import { RunSchedule, Storage, Worker, Workflow } from "effect-recovery"

const reports: Array<string> = []

const Report = Workflow.make("report", { input: Schema.Date }, (day) =>
  Effect.sync(() => void reports.push(day.toISOString().slice(0, 4)))
)

const Nightly = Workflow.schedule("nightly", Report, {
  cron: "0 3 * * *",
  timeZone: "Europe/Berlin",
  catchUp: "all",
  overlap: "queue",
  input: (due) => due
})

const worker = Worker.layer([Report], { schedules: [Nightly] })

// Any process of the storage may do this; it needs neither the workflow nor the schedule.
const operate = Effect.gen(function* () {
  const run = yield* RunSchedule.trigger("nightly")
  // A worker that has the schedule records the run.
  yield* Effect.retry(Workflow.join(Report, run), { while: ({ _tag }) => _tag === "RunNotFound" })
  yield* RunSchedule.pause("nightly", { reason: "the table moves", by: "ada" })
  const [info] = yield* RunSchedule.list
  yield* RunSchedule.resume("nightly")
  return info
})

export const program = Effect.gen(function* () {
  yield* Effect.repeat(RunSchedule.list, { until: (all) => all.length > 0 })
  const info = yield* operate
  return {
    rule: info?.rule.cron,
    ran: reports.length,
    isPaused: Option.isSome(info?.paused ?? Option.none())
  }
}).pipe(Effect.provide(worker), Effect.provide(Layer.fresh(Storage.layerMemory)))
