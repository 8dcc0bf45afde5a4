import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import { reachesShare } from "../../../resilience/internal/kernel/options.js"
import * as Storage from "../../../storage/Storage.js"
import type { Day, Health, Period, Rate, Statistics, Times, Trend } from "../../Insights.js"
import type { Dashboard } from "../../RecoveryRecord.js"
import { bucketMiddle, counterName, counterParts } from "../records/counters.js"
import { failures, type RecoveryDetails, recoveries, type Stored } from "../records/records.js"
import { type Tallies, talliesOf } from "./estimate.js"

type Counters = ReadonlyArray<Storage.Counter>

/** Length of the lists: the newest, most frequent, slowest and most retried. */
const listLength = 10

/** A fingerprint is no name: the newest failures give their messages. */
const namedFailures = 50

/** Reads counters and one page of failures, so its cost does not grow with the number of records. */
export const statisticsOf = (storage: Storage.Service) =>
  Effect.gen(function* () {
    const [byStatus, strategies, categories, steps, failing, fingerprints, counts, days, times, retries, now, latest] =
      yield* Effect.all([
        storage.counters("recoveries/"),
        storage.counters("learned/all/"),
        storage.counters("learned/category/"),
        storage.counters("learned/step/"),
        storage.counters("failing/category/"),
        storage.counters("failing/fingerprint/"),
        storage.counters("failures/"),
        storage.counters("days/"),
        storage.counters("times/"),
        storage.counters("retries/"),
        storage.now,
        failures.listReadable({ limit: namedFailures })
      ])
    const messages = new Map([...latest].reverse().map(({ fingerprint, message }) => [fingerprint, message]))
    const lastWeek = lastDays(days, now, 7)
    const { sum, types } = recoveryCounts(byStatus)
    const rateOfType = (type?: string) => rateOf(sum({ type, status: "completed" }), sum({ type, status: "failed" }))
    const statistics: Statistics = {
      recoveries: rateOfType(),
      openFailures: sumOf(counts.filter(({ name }) => counterParts(name)[2] === "open")),
      failures: sumOf(counts.filter(({ name }) => counterParts(name)[2] === "all")),
      byType: Object.fromEntries(types.map((type) => [type, rateOfType(type)])),
      byStrategy: rates(talliesOf(strategies)),
      byCategory: groups(categories),
      byStep: groups(steps),
      frequentCategories: frequent(failing),
      frequentErrors: frequent(fingerprints).map((one) => ({
        ...one,
        message: Option.fromNullable(messages.get(one.name))
      })),
      timeToRecover: timesOf(times.filter(({ name }) => name.startsWith("times/recovery/"))),
      mostRetried: mostRetried(retries),
      steps: stepTimes(times),
      days: lastDays(days, now, 30),
      trend: trendOf(lastWeek),
      health: healthOf(lastWeek)
    }
    return statistics
  })

const sumOf = (counters: Counters): number => counters.reduce((sum, { value }) => sum + value, 0)

const rateOf = (successful: number, unsuccessful: number): Rate => {
  const total = successful + unsuccessful
  return { successful, total, successRate: total === 0 ? Option.none() : Option.some(successful / total) }
}

/** Sums the counters `recoveries/<scope>/<type>/<status>` by type and status. */
const recoveryCounts = (counters: Counters) => {
  const counts = counters.map(({ name, value }) => {
    const [, , type = "", status = ""] = counterParts(name)
    return { type, status, value }
  })
  return {
    types: Arr.dedupe(counts.map(({ type }) => type)),
    sum: ({ status, type }: { readonly type?: string | undefined; readonly status?: string } = {}): number =>
      counts
        .filter((one) => (status ?? one.status) === one.status && (type ?? one.type) === one.type)
        .reduce((sum, { value }) => sum + value, 0)
  }
}

/** Reads counters and the first pages of two lists, so its cost does not grow with the records. */
export const dashboardOf = (repository: string | undefined) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const labels = repository === undefined ? undefined : { repository }
    const prefix = repository === undefined ? "recoveries/" : `recoveries/${counterName(repository)}/`
    const { sum, types } = recoveryCounts(yield* storage.counters(prefix))
    const recent = yield* recoveries.listReadable({ scope: repository, limit: listLength })
    const checkpoints = yield* Checkpoint.list({ run: "any", labels, limit: listLength })
    const total = sum()
    const successful = sum({ status: "completed" })
    const dashboard: Dashboard = {
      recoverySummary: {
        totalRecoveries: total,
        successfulRecoveries: successful,
        failedRecoveries: sum({ status: "failed" }),
        inProgressRecoveries: sum({ status: "in_progress" }),
        successRate: total === 0 ? 0 : Math.round((successful / total) * 10_000) / 100
      },
      recoveryByType: Object.fromEntries(
        types.map((type) => [type, { total: sum({ type }), successful: sum({ type, status: "completed" }) }])
      ),
      recentRecoveries: recent,
      checkpointStatus: checkpoints
    }
    return dashboard
  })

const rates = (tallies: Tallies): Readonly<Record<string, Rate>> =>
  Object.fromEntries(
    [...tallies].map(([strategy, { successful, unsuccessful }]) => [strategy, rateOf(successful, unsuccessful)])
  )

const groups = (counters: Counters): Readonly<Record<string, Readonly<Record<string, Rate>>>> => {
  const byGroup = Arr.groupBy(counters, ({ name }) => counterParts(name)[2] ?? "")
  return Object.fromEntries(Object.entries(byGroup).map(([group, of]) => [group, rates(talliesOf(of))]))
}

const top = <A>(all: ReadonlyArray<A>, by: (one: A) => number): ReadonlyArray<A> =>
  [...all].sort((a, b) => by(b) - by(a)).slice(0, listLength)

const frequent = (counters: Counters) =>
  top(counters, ({ value }) => value).map(({ name, value }) => ({ name: counterParts(name)[2] ?? "", count: value }))

export const timesOf = (counters: Counters): Option.Option<Times> => {
  const total = sumOf(counters.filter(({ name }) => name.endsWith("/total")))
  const buckets = counters.filter(({ name }) => /\/bucket\/\d+$/.test(name))
  const count = sumOf(buckets)
  if (count === 0) return Option.none()
  const percentile = (percent: number): Duration.Duration => {
    // Whole numbers: the product with a share such as 0.95 may lie above the exact count.
    let left = Math.ceil((count * percent) / 100)
    const found = buckets.find(({ value }) => {
      left -= value
      return left <= 0
    })
    return Duration.millis(Math.round(bucketMiddle(Number(found?.name.slice(-3) ?? 0))))
  }
  const mean = Duration.millis(total / count)
  return Option.some({ count, mean, p50: percentile(50), p95: percentile(95), p99: percentile(99) })
}

/** By total time, longest first. */
const stepTimes = (times: Counters): Statistics["steps"] => {
  const ofSteps = times.filter(({ name }) => name.startsWith("times/step/"))
  const bySteps = Arr.groupBy(ofSteps, ({ name }) => counterParts(name)[2] ?? "")
  const all = Object.entries(bySteps).flatMap(([step, counters]) =>
    Option.toArray(Option.map(timesOf(counters), (found) => ({ step, ...found })))
  )
  return top(all, ({ count, mean }) => count * Duration.toMillis(mean))
}

const mostRetried = (counters: Counters): Statistics["mostRetried"] => {
  const bySteps = Object.entries(Arr.groupBy(counters, ({ name }) => counterParts(name)[1] ?? ""))
  const all = bySteps.map(([step, of]) => {
    const retries = sumOf(of)
    const waited = of.reduce((sum, { name, value }) => sum + value * bucketMiddle(Number(counterParts(name)[3])), 0)
    const successful = sumOf(of.filter(({ name }) => name.endsWith("/good")))
    return { step, retries, successful, meanDelay: Duration.millis(Math.round(waited / Math.max(1, retries))) }
  })
  return top(all, ({ retries }) => retries)
}

const dayMillis = 86_400_000

/** Includes days without any counter. */
const lastDays = (counters: Counters, now: number, count: number): ReadonlyArray<Day> => {
  const values = new Map(counters.map(({ name, value }) => [name, value]))
  return Array.from({ length: count }, (_, i) => {
    const day = new Date(now - (count - 1 - i) * dayMillis).toISOString().slice(0, 10)
    const of = (what: string) => values.get(`days/${day}/${what}`) ?? 0
    return { day, failures: of("failures"), recovered: of("recovered"), unrecovered: of("unrecovered") }
  })
}

const recentDays = 3

/** Compares failures per day in whole numbers, since products with 1.2 and 0.8 are inexact. */
export const trendOf = (days: ReadonlyArray<Pick<Day, "failures">>): Trend => {
  const sum = (some: typeof days): number => some.reduce((total, { failures }) => total + failures, 0)
  const recent = sum(days.slice(-recentDays)) * (days.length - recentDays) * 10
  const before = sum(days.slice(0, -recentDays)) * recentDays
  if (recent > before * 12) return "worse"
  return recent < before * 8 ? "better" : "steady"
}

const healthOf = (days: ReadonlyArray<Day>): Health => {
  const of = (what: "recovered" | "unrecovered") => days.reduce((sum, day) => sum + day[what], 0)
  const [good, bad] = [of("recovered"), of("unrecovered")]
  const reaches = (share: number) => good + bad === 0 || reachesShare(good, good + bad, share)
  if (reaches(0.95) && bad <= 2) return "excellent"
  if (reaches(0.85) && bad <= 5) return "good"
  return reaches(0.7) && bad <= 10 ? "fair" : "poor"
}

const pageSize = 500

interface PeriodQuery {
  readonly run?: string | undefined
  readonly repository?: string | undefined
}

/** Reads pages, newest first, until a page holds an older recovery. */
const recoveriesSince = (time: number, { repository, run }: PeriodQuery) =>
  Effect.gen(function* () {
    const all: Array<Stored<RecoveryDetails>> = []
    for (let before: number | undefined; ; ) {
      const page = yield* recoveries.listStored({ scope: repository, before, limit: pageSize })
      const recent = page.filter(({ at }) => at >= time)
      all.push(...recent.filter(({ details }) => run === undefined || details.run === run))
      if (recent.length < pageSize) return all
      before = page.at(-1)?.key
    }
  })

export const periodOf = (time: number, query: PeriodQuery) =>
  Effect.map(recoveriesSince(time, query), (all): Period => {
    const rate = (some: typeof all) => {
      const count = (status: string) => some.filter((one) => one.status === status).length
      return rateOf(count("completed"), count("failed"))
    }
    const ratesBy = (key: "type" | "category") =>
      Object.fromEntries(
        Object.entries(Arr.groupBy(all, ({ details }) => details[key])).map(([k, some]) => [k, rate(some)])
      )
    return {
      recoveries: rate(all),
      byStrategy: ratesBy("type"),
      byCategory: ratesBy("category"),
      affected: new Set(all.map(({ details, id }) => details.run ?? details.recovery ?? details.failure ?? id)).size
    }
  })
