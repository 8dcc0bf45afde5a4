import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Workflow from "../../../durable/Workflow.js"
import * as Lock from "../../../lock/Lock.js"
import { openBreakers } from "../../../resilience/internal/kernel/metrics.js"
import * as Storage from "../../../storage/Storage.js"
import type { Check } from "../../HealthCheck.js"
import { statisticsOf } from "../insights/statistics.js"
import { escalations, failures, recoveries } from "../records/records.js"

export interface Limits {
  readonly stuckMillis: number
  readonly unansweredMillis: number
  readonly idleMillis: number
  readonly minimumSuccess: number
}

const most = 10

const ok = (name: Check["name"], message: string): Check => ({ name, status: "ok", message, about: [] })

const warning = (name: Check["name"], message: string, about: ReadonlyArray<string>): Check => ({
  name,
  status: "warning",
  message,
  about: about.slice(0, most)
})

/** More are not counted. */
const looked = 10_000

const counted = (count: number, what: string, many = `${what}s`): string =>
  `${count >= looked ? "At least " : ""}${count} ${count === 1 ? what : many}`

const age = (millis: number): string => Duration.format(Duration.seconds(Math.round(millis / 1_000)))

/** Whether it can be read and written, how fast, and how much there is. */
export const storageCheck = Effect.gen(function* () {
  const storage = yield* Storage.Storage
  const started = yield* Clock.currentTimeMillis
  const looked = yield* Effect.either(
    Effect.all({ usage: storage.usage, runs: Workflow.stats, written: Effect.either(writeOf(storage)) })
  )
  const millis = (yield* Clock.currentTimeMillis) - started
  if (looked._tag === "Left") {
    const check: Check = { name: "storage", status: "failing", message: looked.left.message, about: [] }
    return { check, found: Option.none() }
  }
  const { written, ...found } = looked.right
  const { bytes, records, runs } = found.usage
  const size = `${(bytes / 1024 ** 2).toFixed(1)} MiB with ${counted(runs, "run")} and ${counted(records, "record")}`
  const check: Check =
    written._tag === "Right"
      ? ok("storage", `Read and written in ${millis} ms; ${size}.`)
      : written.left.reason === "ReadOnly"
        ? warning("storage", `It can be read alone; ${size}.`, [])
        : { name: "storage", status: "failing", message: written.left.message, about: [] }
  return { check, found: Option.some(found) }
})

/** One more look, counted: as small as a write can be. */
const writeOf = (storage: Storage.Service) => storage.count([{ name: "health/looked", add: 1 }])

/** Each for itself: one that cannot be made must not hide the others. */
export const checksOf = (limits: Limits) =>
  Effect.all(
    [
      checked("runs", runs(limits)),
      checked("questions", questions(limits)),
      checked("recoveries", idle(limits)),
      checked("failures", open),
      checked("escalations", unanswered(limits)),
      checked("success", success(limits)),
      checked("locks", locks),
      breakers
    ],
    { concurrency: 1 }
  )

const checked = <E extends { readonly message: string }, R>(
  name: Check["name"],
  check: Effect.Effect<Check, E, R>
): Effect.Effect<Check, never, R> =>
  Effect.catchAll(check, ({ message }) => Effect.succeed<Check>({ name, status: "failing", message, about: [] }))

/** The oldest are told, since they wait for the longest time. */
const isLate = (run: Workflow.RunSummary, now: number, late: ReadonlyArray<Storage.Backlog>): boolean =>
  late.some(({ version, workflow }) => version === run.version && workflow === run.workflow) &&
  Option.exists(run.dueAt, (due) => due.getTime() <= now)

const runs = ({ stuckMillis }: Limits) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const now = yield* storage.now
    const late = (yield* storage.backlog).filter(({ due, oldest }) => due > 0 && now - (oldest ?? now) > stuckMillis)
    if (late.length === 0) return ok("runs", "None is stuck.")
    const stopped = yield* Workflow.list({ status: "stopped", limit: looked })
    const due = late.reduce((sum, one) => sum + one.due, 0)
    const oldest = Math.min(...late.map((one) => one.oldest ?? now))
    const workflows = [...new Set(late.map(({ workflow }) => workflow))].join(", ")
    return warning(
      "runs",
      `${counted(due, "run")} of ${workflows} could go on, and nobody takes them, for ${age(now - oldest)} by now. Is a worker running?`,
      stopped.filter((run) => isLate(run, now, late)).map(({ id }) => id)
    )
  })

const questions = ({ unansweredMillis }: Limits) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const now = yield* storage.now
    const suspended = yield* Workflow.list({ status: "suspended", limit: looked })
    const asking = suspended.filter(({ waiting }) => waiting.some(({ kind }) => kind === "question"))
    const late = asking.filter(({ waiting }) =>
      waiting.some(({ kind, since }) => kind === "question" && now - since.getTime() > unansweredMillis)
    )
    return late.length === 0
      ? ok(
          "questions",
          asking.length === 0 ? "Nobody asks anything." : `${counted(asking.length, "run")} asks something.`
        )
      : warning(
          "questions",
          `${counted(late.length, "run")} waits for an answer for more than ${age(unansweredMillis)}: recovery resolve.`,
          late.map(({ id }) => id)
        )
  })

const idle = ({ idleMillis }: Limits) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const unchangedSince = (yield* storage.now) - idleMillis
    const pending = yield* recoveries.readable({ status: "pending", unchangedSince, limit: looked })
    const begun = yield* recoveries.readable({ status: "in_progress", unchangedSince, limit: looked })
    const late = [...pending, ...begun]
    return late.length === 0
      ? ok("recoveries", "None has been left.")
      : warning(
          "recoveries",
          `${counted(late.length, "recovery", "recoveries")} made no progress for ${age(idleMillis)}: recovery cleanup ends those that were left.`,
          late.map(({ id }) => id)
        )
  })

const open = Effect.gen(function* () {
  const all = yield* failures.readable({ status: "open", limit: looked })
  const critical = all.filter(({ details }) => details.severity === "critical")
  return critical.length === 0
    ? ok(
        "failures",
        all.length === 0 ? "None is open." : `${counted(all.length, "failure")} open, none of them critical.`
      )
    : warning(
        "failures",
        `${counted(critical.length, "critical failure")} open: recovery suggest --failure-id ${critical[0]?.id}.`,
        critical.map(({ id }) => id)
      )
})

const unanswered = ({ unansweredMillis }: Limits) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const late = yield* escalations.readable({
      status: "open",
      unchangedSince: (yield* storage.now) - unansweredMillis,
      limit: looked
    })
    return late.length === 0
      ? ok("escalations", "None is waiting.")
      : warning(
          "escalations",
          `${counted(late.length, "escalation")} open for more than ${age(unansweredMillis)}: recovery escalations.`,
          late.map(({ id }) => id)
        )
  })

const success = ({ minimumSuccess }: Limits) =>
  Effect.gen(function* () {
    const { days, health } = yield* Effect.flatMap(Storage.Storage, statisticsOf)
    const week = days.slice(-7)
    const good = week.reduce((sum, { recovered }) => sum + recovered, 0)
    const total = week.reduce((sum, { unrecovered }) => sum + unrecovered, good)
    const told = `${good} of ${total} recoveries of the last seven days came to a good end`
    return total === 0 || good / total >= minimumSuccess
      ? ok("success", `${told}.`)
      : warning("success", `${told}, which is ${health}: recovery stats.`, [])
  })

const locks = Effect.gen(function* () {
  const stale = (yield* Lock.list).filter(({ state }) => state === "stale")
  return stale.length === 0
    ? ok("locks", "None is stale.")
    : warning(
        "locks",
        `${counted(stale.length, "lock")} held by a process that is gone; whoever asks next gets it.`,
        stale.map(({ lock }) => lock)
      )
}).pipe(Effect.provide(Lock.layerStorage()))

/** Of this process: where they lead is no business of the storage. */
const breakers = Effect.sync(() => {
  const open = openBreakers()
  return open.length === 0
    ? ok("breakers", "None of this process is open.")
    : warning("breakers", `${counted(open.length, "circuit breaker")} open in this process.`, open)
})
