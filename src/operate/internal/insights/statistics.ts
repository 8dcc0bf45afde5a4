import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Storage from "../../../storage/Storage.js"
import type { Day, Health, Rate, Statistics, Times, Trend } from "../../Insights.js"
import { millisOf, partsOf } from "../records/counts.js"
import { type Tallies, talliesOf } from "./learned.js"

type Counters = ReadonlyArray<Storage.Counter>

const most = 10

/** All of it comes from counters, so it costs the same however many records there are. */
export const statisticsOf = (storage: Storage.Service) =>
  Effect.gen(function* () {
    const [types, ways, categories, steps, failing, fingerprints, failures, days, times, retries, now] =
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
        storage.now
      ])
    const recent = lastDays(days, now, 7)
    const statistics: Statistics = {
      recoveries: ended(types),
      openFailures: sumOf(failures.filter(({ name }) => partsOf(name)[2] === "open")),
      failures: sumOf(failures.filter(({ name }) => partsOf(name)[2] === "all")),
      byType: ratesOf(types, 2, 3),
      byStrategy: rates(talliesOf(ways)),
      byCategory: groups(categories),
      byStep: groups(steps),
      frequentCategories: frequent(failing),
      frequentErrors: frequent(fingerprints),
      timeToRecover: timesOf(times.filter(({ name }) => name.startsWith("times/recovery/"))),
      mostRetried: mostRetried(retries),
      steps: stepTimes(times),
      days: lastDays(days, now, 30),
      trend: trendOf(recent),
      health: healthOf(recent)
    }
    return statistics
  })

const sumOf = (counters: Counters): number => counters.reduce((sum, { value }) => sum + value, 0)

export const rateOf = (successful: number, unsuccessful: number): Rate => {
  const total = successful + unsuccessful
  return { successful, total, successRate: total === 0 ? Option.none() : Option.some(successful / total) }
}

const ended = (counters: Counters): Rate => {
  const of = (status: string) => sumOf(counters.filter(({ name }) => partsOf(name)[3] === status))
  return rateOf(of("completed"), of("failed"))
}

/** Grouped by one part of their names, with the status in another. */
const ratesOf = (counters: Counters, group: number, status: number): Readonly<Record<string, Rate>> => {
  const names = new Set(counters.map(({ name }) => partsOf(name)[group] ?? ""))
  const of = (name: string, how: string) =>
    sumOf(counters.filter((one) => partsOf(one.name)[group] === name && partsOf(one.name)[status] === how))
  return Object.fromEntries([...names].map((name) => [name, rateOf(of(name, "completed"), of(name, "failed"))]))
}

const rates = (tallies: Tallies): Readonly<Record<string, Rate>> =>
  Object.fromEntries([...tallies].map(([strategy, { bad, good }]) => [strategy, rateOf(good, bad)]))

const groups = (counters: Counters): Readonly<Record<string, Readonly<Record<string, Rate>>>> => {
  const byGroup = Arr.groupBy(counters, ({ name }) => partsOf(name)[2] ?? "")
  return Object.fromEntries(Object.entries(byGroup).map(([group, of]) => [group, rates(talliesOf(of))]))
}

const frequent = (counters: Counters) =>
  [...counters]
    .sort((a, b) => b.value - a.value)
    .slice(0, most)
    .map(({ name, value }) => ({ name: partsOf(name)[2] ?? "", count: value }))

export const timesOf = (counters: Counters): Option.Option<Times> => {
  const total = sumOf(counters.filter(({ name }) => name.endsWith("/total")))
  const buckets = counters.filter(({ name }) => /\/bucket\/\d+$/.test(name))
  const count = sumOf(buckets)
  if (count === 0) return Option.none()
  const percentile = (share: number): Duration.Duration => {
    let left = Math.ceil(count * share)
    const found = buckets.find(({ value }) => {
      left -= value
      return left <= 0
    })
    return Duration.millis(Math.round(millisOf(Number(found?.name.slice(-3) ?? 0))))
  }
  const mean = Duration.millis(total / count)
  return Option.some({ count, mean, p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99) })
}

/** Those that took most of the time in all, first. */
const stepTimes = (times: Counters): Statistics["steps"] => {
  const ofSteps = times.filter(({ name }) => name.startsWith("times/step/"))
  const bySteps = Arr.groupBy(ofSteps, ({ name }) => partsOf(name)[2] ?? "")
  return Object.entries(bySteps)
    .flatMap(([step, counters]) => Option.toArray(Option.map(timesOf(counters), (found) => ({ step, ...found }))))
    .sort((a, b) => b.count * Duration.toMillis(b.mean) - a.count * Duration.toMillis(a.mean))
    .slice(0, most)
}

const mostRetried = (counters: Counters): Statistics["mostRetried"] =>
  Object.entries(Arr.groupBy(counters, ({ name }) => partsOf(name)[1] ?? ""))
    .map(([step, of]) => {
      const retries = sumOf(of)
      const waited = of.reduce((sum, { name, value }) => sum + value * millisOf(Number(partsOf(name)[3])), 0)
      const successful = sumOf(of.filter(({ name }) => name.endsWith("/good")))
      return { step, retries, successful, meanDelay: Duration.millis(Math.round(waited / Math.max(1, retries))) }
    })
    .sort((a, b) => b.retries - a.retries)
    .slice(0, most)

const dayMillis = 86_400_000

/** Also those on which nothing happened. */
const lastDays = (counters: Counters, now: number, count: number): ReadonlyArray<Day> => {
  const values = new Map(counters.map(({ name, value }) => [name, value]))
  return Array.from({ length: count }, (_, i) => {
    const day = new Date(now - (count - 1 - i) * dayMillis).toISOString().slice(0, 10)
    const of = (what: string) => values.get(`days/${day}/${what}`) ?? 0
    return { day, failures: of("failures"), recovered: of("recovered"), unrecovered: of("unrecovered") }
  })
}

const average = (days: ReadonlyArray<Day>): number =>
  days.reduce((sum, { failures }) => sum + failures, 0) / Math.max(1, days.length)

/** The last three days against the four before. */
const trendOf = (days: ReadonlyArray<Day>): Trend => {
  const [before, recent] = [average(days.slice(0, -3)), average(days.slice(-3))]
  if (recent > before * 1.2) return "worse"
  return recent < before * 0.8 ? "better" : "steady"
}

const healthOf = (days: ReadonlyArray<Day>): Health => {
  const of = (what: "recovered" | "unrecovered") => days.reduce((sum, day) => sum + day[what], 0)
  const [good, bad] = [of("recovered"), of("unrecovered")]
  const share = good + bad === 0 ? 1 : good / (good + bad)
  if (share >= 0.95 && bad <= 2) return "excellent"
  if (share >= 0.85 && bad <= 5) return "good"
  return share >= 0.7 && bad <= 10 ? "fair" : "poor"
}
