/**
 * Checks the storage, runs, recoveries, failures and locks in one call, for a
 * cron job or an operator.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Workflow from "../durable/Workflow.js"
import * as Lock from "../lock/Lock.js"
import { durationText } from "../resilience/DurationText.js"
import { openBreakers } from "../resilience/internal/kernel/metrics.js"
import { fraction, millis, reachesShare } from "../resilience/internal/kernel/options.js"
import { dueSince, isQueued } from "../storage/rows.js"
import * as Storage from "../storage/Storage.js"
import { statisticsOf } from "./internal/insights/statistics.js"
import { escalations, failures, recoveries } from "./internal/records/records.js"
import type { Check, Report } from "./Reports.js"

export {
  /**
   * @since 0.1.0
   * @category models
   */
  Check,
  /**
   * @since 0.1.0
   * @category models
   */
  Report,
  /**
   * @since 0.1.0
   * @category models
   */
  Status
} from "./Reports.js"

/**
 * The limits beyond which a check is a warning.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long a run may wait for a worker, at least 1 millisecond. Defaults to 5 minutes. */
  readonly stuckAfter?: Duration.DurationInput | undefined
  /** How long a question or an escalation may be unanswered, at least 1 millisecond. Defaults to 1 day. */
  readonly unansweredAfter?: Duration.DurationInput | undefined
  /** How long a recovery may make no progress, at least 1 millisecond. Defaults to 1 hour. */
  readonly idleAfter?: Duration.DurationInput | undefined
  /** The share of the last seven days' recoveries that must have succeeded, 0 to 1. Defaults to 0.95. */
  readonly minimumSuccess?: number | undefined
}

/**
 * Runs all checks. It never fails: a check that cannot run is `failing`. Dies with
 * `InvalidOption` if an option is invalid. To test that the storage can be
 * written, it increments a counter.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { HealthCheck } from "effect-recovery/operate"
 * import { Effect } from "effect"
 *
 * HealthCheck.run().pipe(
 *   Effect.map(({ status }) => status),
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then(console.log) // ok
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const run = (options: Options = {}): Effect.Effect<Report, never, Storage.Storage> =>
  Effect.gen(function* () {
    const limits = limitsOf(options)
    const { check, found } = yield* storageCheck
    const checks = [check, ...(Option.isNone(found) ? [] : yield* checksOf(limits))]
    return {
      status: worstFirst.find((status) => checks.some((one) => one.status === status)) ?? "ok",
      checks,
      usage: Option.map(found, ({ usage }) => usage),
      runs: Option.match(found, { onNone: () => [], onSome: ({ runs }) => runs })
    }
  })

/** Durations are milliseconds. */
type Limits = { readonly [K in keyof Options]-?: number }

const limitsOf = ({
  idleAfter = "1 hour",
  minimumSuccess = 0.95,
  stuckAfter = "5 minutes",
  unansweredAfter = "1 day"
}: Options): Limits => ({
  idleAfter: millis("idleAfter", idleAfter, 1),
  minimumSuccess: fraction("minimumSuccess", minimumSuccess),
  stuckAfter: millis("stuckAfter", stuckAfter, 1),
  unansweredAfter: millis("unansweredAfter", unansweredAfter, 1)
})

const worstFirst = ["failing", "warning"] as const

const maxIds = 10

/** Bounds the memory of a check. */
const pageSize = 1_000

/** Counts stop here, which bounds the cost of a check. */
const maxCounted = 10_000

const ok = (name: Check["name"], message: string): Check => ({ name, status: "ok", message, about: [] })

const failing = (name: Check["name"], message: string): Check => ({ name, status: "failing", message, about: [] })

const warning = (name: Check["name"], message: string, about: ReadonlyArray<string>): Check => ({
  name,
  status: "warning",
  message,
  about: about.slice(0, maxIds)
})

/** A warning about these objects, or `ok` if there are none. */
const warnOf = (
  name: Check["name"],
  ids: ReadonlyArray<string>,
  messages: { readonly none: string; readonly some: string }
): Check => (ids.length === 0 ? ok(name, messages.none) : warning(name, messages.some, ids))

const countOf = (count: number, one: string, many = `${one}s`): string =>
  `${count >= maxCounted ? "At least " : ""}${count} ${count === 1 ? one : many}`

const age = (millis: number): string => durationText(Duration.seconds(Math.round(millis / 1_000)))

/** Reads and writes the storage, and measures how long that takes. */
const storageCheck = Effect.gen(function* () {
  const storage = yield* Storage.Storage
  const written = Effect.either(storage.count([{ name: "health/looked", add: 1 }]))
  const [took, found] = yield* Effect.timed(
    Effect.either(Effect.all({ usage: storage.usage, runs: Workflow.stats, written }))
  )
  if (found._tag === "Left") return { check: failing("storage", found.left.message), found: Option.none() }
  const { usage, written: writing } = found.right
  const mebibytes = (usage.bytes / 1024 ** 2).toFixed(1)
  const size = `${mebibytes} MiB with ${countOf(usage.runs, "run")} and ${countOf(usage.records, "record")}`
  const check =
    writing._tag === "Right"
      ? ok("storage", `Read and written in ${Math.round(Duration.toMillis(took))} ms; ${size}.`)
      : writing.left.reason === "ReadOnly"
        ? warning("storage", `The storage is read-only; ${size}.`, [])
        : failing("storage", writing.left.message)
  return { check, found: Option.some(found.right) }
})

/** Runs all other checks. A check that fails is reported as `failing`, and does not stop the others. */
const checksOf = ({ idleAfter, minimumSuccess, stuckAfter, unansweredAfter }: Limits) =>
  Effect.all([
    reported("runs", runs(stuckAfter)),
    reported("queues", queues(stuckAfter)),
    reported("questions", questions(unansweredAfter)),
    reported("recoveries", idleRecoveries(idleAfter)),
    reported("failures", openFailures),
    reported("escalations", unansweredEscalations(unansweredAfter)),
    reported("success", success(minimumSuccess)),
    reported("locks", locks),
    breakers
  ])

const reported = <E extends { readonly message: string }, R>(
  name: Check["name"],
  check: Effect.Effect<Check, E, R>
): Effect.Effect<Check, never, R> => Effect.catchAll(check, ({ message }) => Effect.succeed(failing(name, message)))

const currentTime = Effect.flatMap(Storage.Storage, (storage) => storage.now)

const runs = (stuckMillis: number) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const now = yield* storage.now
    const late = (yield* storage.backlog).filter(({ due, oldest }) => due > 0 && now - (oldest ?? now) > stuckMillis)
    if (late.length === 0) return ok("runs", "None is stuck.")
    const found = yield* Effect.forEach(late, longestDue)
    const oldestFirst = found.flatMap(({ longest }) => longest).sort((a, b) => dueSince(a) - dueSince(b))
    const [first] = oldestFirst
    // What waits in a queue is no fault of the workers.
    if (first === undefined || now - dueSince(first) <= stuckMillis) return ok("runs", "None is stuck.")
    const due = found.reduce((sum, { count }) => sum + count, 0)
    const workflows = [...new Set(oldestFirst.map(({ workflow }) => workflow))].join(", ")
    return warning(
      "runs",
      `${countOf(due, "run")} of ${workflows} can continue, and no worker has taken them for ${age(now - dueSince(first))}. Start a worker.`,
      ids(oldestFirst)
    )
  })

/** Runs outside of queues: how many are due, and those that have been due longest, of at most `maxCounted`. Lists are in the order of creation. */
const longestDue = ({ version, workflow }: Storage.WorkflowVersion) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    let longest: ReadonlyArray<Storage.Run> = []
    let count = 0
    let looked = 0
    for (let before: number | undefined; ; ) {
      const page = yield* storage.list({ workflow, version, status: "stopped", before, limit: pageSize })
      const found = page.filter((run) => !isQueued(run))
      count += found.length
      looked += page.length
      longest = [...longest, ...found].sort((a, b) => dueSince(a) - dueSince(b)).slice(0, maxIds)
      if (page.length < pageSize || looked >= maxCounted) return { count, longest }
      before = page.at(-1)?.key
    }
  })

/** A queue of which some run is leased is worked off, however long it is. */
const queues = (stuckMillis: number) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const now = yield* storage.now
    const counts = yield* storage.queues
    const due = counts.reduce((sum, count) => sum + count.due, 0)
    const late = counts.filter((one) => one.due > 0 && one.running === 0 && now - (one.oldest ?? now) > stuckMillis)
    const waiting = late.reduce((sum, count) => sum + count.due, 0)
    return warnOf(
      "queues",
      late.map(({ queue }) => queue),
      {
        none: due === 0 ? "None has runs that wait for a place." : `${countOf(due, "run")} waiting for a place.`,
        some: `${countOf(waiting, "run")} due for more than ${age(stuckMillis)} in queues of which no run is leased. Start a worker that has the queue, unless its rate keeps them.`
      }
    )
  })

const questions = (unansweredMillis: number) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const longAgo = (yield* storage.now) - unansweredMillis
    const asking = (before?: number) =>
      storage.list({ status: "suspended", waitsFor: { kind: "question", before }, limit: maxCounted })
    const late = yield* asking(longAgo)
    const open = late.length > 0 ? late : yield* asking()
    const count = countOf(late.length, "run")
    return warnOf("questions", ids(late), {
      none: open.length === 0 ? "None is open." : `${countOf(open.length, "run")} waiting for an answer.`,
      some: `${count} waiting for an answer for more than ${age(unansweredMillis)}: recovery resolve.`
    })
  })

const idleRecoveries = (idleMillis: number) =>
  Effect.gen(function* () {
    const query = { unchangedSince: (yield* currentTime) - idleMillis, limit: maxCounted }
    const pending = yield* recoveries.listReadable({ status: "pending", ...query })
    const inProgress = yield* recoveries.listReadable({ status: "in_progress", ...query })
    const idle = [...pending, ...inProgress]
    const count = countOf(idle.length, "recovery", "recoveries")
    return warnOf("recoveries", ids(idle), {
      none: "None is abandoned.",
      some: `${count} without progress for ${age(idleMillis)}: recovery cleanup ends abandoned recoveries.`
    })
  })

const openFailures = Effect.gen(function* () {
  const listOpen = (body?: string) => failures.listReadable({ status: "open", body, limit: maxCounted })
  const critical = yield* listOpen(JSON.stringify({ severity: "critical" }))
  const open = critical.length > 0 ? critical : yield* listOpen()
  const count = countOf(critical.length, "critical failure")
  return warnOf("failures", ids(critical), {
    none: open.length === 0 ? "None is open." : `${countOf(open.length, "failure")} open, none of them critical.`,
    some: `${count} open: recovery suggest --failure-id ${critical[0]?.id}.`
  })
})

const unansweredEscalations = (unansweredMillis: number) =>
  Effect.gen(function* () {
    const unchangedSince = (yield* currentTime) - unansweredMillis
    const late = yield* escalations.listReadable({ status: "open", unchangedSince, limit: maxCounted })
    return warnOf("escalations", ids(late), {
      none: "None is unanswered.",
      some: `${countOf(late.length, "escalation")} open for more than ${age(unansweredMillis)}: recovery escalations.`
    })
  })

const success = (minimumSuccess: number) =>
  Effect.gen(function* () {
    const { days, health } = yield* Effect.flatMap(Storage.Storage, statisticsOf)
    const lastWeek = days.slice(-7)
    const good = lastWeek.reduce((sum, { recovered }) => sum + recovered, 0)
    const total = lastWeek.reduce((sum, { unrecovered }) => sum + unrecovered, good)
    const share = `${good} of ${total} recoveries of the last seven days succeeded`
    return total === 0 || reachesShare(good, total, minimumSuccess)
      ? ok("success", `${share}.`)
      : warning("success", `${share}, which is ${health}: recovery stats.`, [])
  })

const locks = Effect.gen(function* () {
  const stale = (yield* Lock.list).filter(({ state }) => state === "stale").map(({ lock }) => lock)
  return warnOf("locks", stale, {
    none: "None is stale.",
    some: `${countOf(stale.length, "lock")} of a process that ended; the next acquisition takes it over.`
  })
}).pipe(Effect.provide(Lock.layerStorage()))

/** Breakers of this process only: their state is not read from the storage. */
const breakers = Effect.sync(() => {
  const open = openBreakers()
  return warnOf("breakers", open, {
    none: "None of this process is open.",
    some: `${countOf(open.length, "circuit breaker")} open in this process.`
  })
})

const ids = (all: ReadonlyArray<{ readonly id: string }>): ReadonlyArray<string> => all.map(({ id }) => id)
