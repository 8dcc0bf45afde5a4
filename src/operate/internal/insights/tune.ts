import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { durationText } from "../../../resilience/DurationText.js"
import * as RetryPolicy from "../../../resilience/RetryPolicy.js"
import type * as Storage from "../../../storage/Storage.js"
import type { Proposal, Tuning } from "../../Insights.js"
import { bucketEnd, counterName, counterParts } from "../records/counters.js"
import { timesOf } from "./statistics.js"

/** The results of one retry number after delays of one bucket. */
interface Delayed {
  readonly millis: number
  readonly good: number
  readonly total: number
}

/** The results of one retry number, with the median of its delays. */
interface Retry extends Delayed {
  readonly retry: number
  /** Shortest first. */
  readonly delays: ReadonlyArray<Delayed>
}

export const tuningOf = (storage: Storage.Service, step: string): Effect.Effect<Tuning, Storage.StorageError> =>
  Effect.gen(function* () {
    const retries = retriesOf(yield* storage.counters(`${counterName("retries", step)}/`))
    const times = timesOf(yield* storage.counters(`${counterName("times", "step", step)}/`))
    const cases = retries[0]?.total ?? 0
    const successful = retries.reduce((sum, { good }) => sum + good, 0)
    return {
      step,
      cases,
      successRate: cases === 0 ? Option.none() : Option.some(successful / cases),
      retries: retries.map(({ good, millis, retry, total }) => ({
        retry,
        successful: good,
        total,
        delay: Duration.millis(Math.round(millis))
      })),
      attemptTimeout: Option.map(
        Option.filter(times, ({ count }) => count >= minCases),
        ({ p99 }) => Duration.millis(rounded(Duration.toMillis(p99) * timeoutFactor))
      ),
      proposal: cases < minCases ? Option.none() : Option.some(proposalOf(retries))
    }
  })

const retriesOf = (counters: ReadonlyArray<Storage.Counter>): ReadonlyArray<Retry> => {
  const rows = counters.map(({ name, value }) => {
    const [, , retry, bucket, result] = counterParts(name)
    return { retry: Number(retry), bucket: Number(bucket), good: result === "good" ? value : 0, total: value }
  })
  const byNumber = Object.values(Arr.groupBy(rows, ({ retry }) => String(retry)))
  const retries = byNumber.map((same): Retry => {
    const byBucket = Object.values(Arr.groupBy(same, ({ bucket }) => String(bucket)))
    const delays = byBucket
      .map((of): Delayed => ({ millis: bucketEnd(of[0].bucket), good: sum(of, "good"), total: sum(of, "total") }))
      .sort((a, b) => a.millis - b.millis)
    return {
      retry: same[0].retry,
      good: sum(same, "good"),
      total: sum(same, "total"),
      delays,
      millis: medianOf(delays)
    }
  })
  return retries.sort((a, b) => a.retry - b.retry)
}

const sum = <K extends string>(rows: ReadonlyArray<Readonly<Record<K, number>>>, key: K): number =>
  rows.reduce((total, row) => total + row[key], 0)

/** Fewer cases allow no conclusion. */
const minCases = 10

/** The proposed timeout of an attempt, as a multiple of the 99th percentile of completed attempts. */
const timeoutFactor = 3

/** A retry that happened less often may have succeeded by chance. */
const minTrials = 5

/** A retry that succeeds less often is not proposed. */
const minSuccess = 0.05

/** If the last retry still succeeds this often, one more is proposed. */
const successForOneMore = 0.1

const maxProposedRetries = 10

/** A shorter delay is preferred if its success rate is at least this many tenths of the best rate. */
const nearlyBest = 9

const rateOf = ({ good, total }: { readonly good: number; readonly total: number }): number =>
  total === 0 ? 0 : good / total

const proposalOf = (retries: ReadonlyArray<Retry>): Proposal => {
  const helping = retries.filter((one) => one.total >= minTrials && rateOf(one) >= minSuccess)
  const [first, last] = [helping[0], helping.at(-1)]
  if (first === undefined || last === undefined) {
    const reason = `Retries almost never succeeded in ${retries[0]?.total ?? 0} cases.`
    return { policy: RetryPolicy.none, reason, estimatedSuccess: 0 }
  }
  const isLast = last.retry === retries.at(-1)?.retry
  const oneMore = isLast && rateOf(last) >= successForOneMore && last.retry < maxProposedRetries
  const tooSoon = retries.filter(({ retry }) => retry < first.retry)
  const initialDelay = rounded(sum(tooSoon, "millis") + shortestGood(first.delays))
  const policy = RetryPolicy.exponential({
    maxRetries: last.retry - tooSoon.length + (oneMore ? 1 : 0),
    initialDelay,
    factor: growthOf(retries),
    maxDelay: Math.max(initialDelay, rounded(longestGood(helping)))
  })
  const failing = helping.reduce((share, one) => share * (1 - rateOf(one)), 1)
  const after = oneMore ? ", so one more may succeed" : isLast ? "" : "; later retries almost never succeeded"
  const reason = [
    `Retry ${last.retry} succeeded in ${percent(rateOf(last))} of ${last.total} cases${after}.`,
    tooSoon.length > 0
      ? `Retries before retry ${first.retry} came too soon.`
      : `A first delay of ${durationText(Duration.millis(initialDelay))} succeeded nearly as often as longer ones.`
  ].join(" ")
  return { policy, reason, estimatedSuccess: 1 - failing }
}

const longestGood = (helping: ReadonlyArray<Retry>): number =>
  Math.max(...helping.flatMap(({ delays }) => delays.map(({ good, millis }) => (good > 0 ? millis : 0))))

const percent = (share: number): string => `${Math.round(share * 100)} %`

const medianOf = (delays: ReadonlyArray<Delayed>): number => {
  let left = sum(delays, "total") / 2
  for (const { millis, total } of delays) {
    left -= total
    if (left <= 0) return millis
  }
  return 0
}

/** The shortest delay that succeeds nearly as often as the best. Ignores delays of fewer than 5 % of the trials. */
const shortestGood = (delays: ReadonlyArray<Delayed>): number => {
  const enough = Math.max(1, sum(delays, "total") / 20)
  const tried = delays.filter(({ total }) => total >= enough)
  const best = tried.reduce((a, b) => (b.good * a.total > a.good * b.total ? b : a), { good: 0, total: 1 })
  // Rates are compared by whole numbers, which are exact.
  const isNearlyBest = ({ good, total }: Delayed) => good * best.total * 10 >= best.good * total * nearlyBest
  return tried.find(isNearlyBest)?.millis ?? medianOf(delays)
}

/** The mean factor from one delay to the next, within 1 and 4. */
const growthOf = (retries: ReadonlyArray<Retry>): number => {
  const growths = retries.slice(1).map(({ millis }, i) => millis / Math.max(1, retries[i]?.millis ?? 1))
  if (growths.length === 0) return 2
  const mean = growths.reduce((product, growth) => product * growth, 1) ** (1 / growths.length)
  return Math.min(4, Math.max(1, Math.round(mean * 10) / 10))
}

/** Rounds to two significant digits: the histogram is no more precise. */
const rounded = (millis: number): number => Number(millis.toPrecision(2))
