import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RetryPolicy from "../../../resilience/RetryPolicy.js"
import type * as Storage from "../../../storage/Storage.js"
import type { Proposal, Tuning } from "../../Insights.js"
import { longestOf, nameOf, partsOf } from "../records/counts.js"
import { timesOf } from "./statistics.js"

/** What the retries of one number have come to after delays of about one length. */
interface Delayed {
  readonly millis: number
  readonly good: number
  readonly total: number
}

interface Retry {
  readonly retry: number
  readonly good: number
  readonly total: number
  /** Shortest first. */
  readonly delays: ReadonlyArray<Delayed>
}

export const tuningOf = (storage: Storage.Service, step: string): Effect.Effect<Tuning, Storage.StorageError> =>
  Effect.gen(function* () {
    const retries = retriesOf(yield* storage.counters(`${nameOf("retries", step)}/`))
    const times = timesOf(yield* storage.counters(`${nameOf("times", "step", step)}/`))
    const cases = retries[0]?.total ?? 0
    const successful = retries.reduce((sum, { good }) => sum + good, 0)
    return {
      step,
      cases,
      successRate: cases === 0 ? Option.none() : Option.some(successful / cases),
      retries: retries.map(({ delays, good, retry, total }) => ({
        retry,
        successful: good,
        total,
        delay: Duration.millis(Math.round(medianOf(delays)))
      })),
      attemptTimeout: Option.map(
        Option.filter(times, ({ count }) => count >= fewest),
        ({ p99 }) => Duration.millis(rounded(Duration.toMillis(p99) * patience))
      ),
      proposal: cases < fewest ? Option.none() : Option.some(proposalOf(retries))
    }
  })

const retriesOf = (counters: ReadonlyArray<Storage.Counter>): ReadonlyArray<Retry> => {
  const rows = counters.map(({ name, value }) => {
    const [, , retry, bucket, how] = partsOf(name)
    return { retry: Number(retry), bucket: Number(bucket), good: how === "good" ? value : 0, value }
  })
  const groups = Object.values(Arr.groupBy(rows, ({ retry }) => String(retry)))
  const byRetry = groups.sort(([a], [b]) => a.retry - b.retry)
  return byRetry.map((of) => {
    const delays = Object.values(Arr.groupBy(of, ({ bucket }) => String(bucket))).map(
      (same): Delayed => ({ millis: longestOf(same[0].bucket), good: sum(same, "good"), total: sum(same, "value") })
    )
    const total = sum(of, "value")
    return { retry: of[0].retry, good: sum(of, "good"), total, delays: delays.sort((a, b) => a.millis - b.millis) }
  })
}

const sum = <K extends string>(rows: ReadonlyArray<Readonly<Record<K, number>>>, key: K): number =>
  rows.reduce((total, row) => total + row[key], 0)

/** From fewer cases nothing is concluded. */
const fewest = 10

/** An attempt that takes so many times as long as nearly all others will not come to its end. */
const patience = 3

/** What a retry came to fewer times than this may be chance. */
const telling = 5

/** A retry that helps less often costs more than it brings. */
const worthwhile = 0.05

/** As long as the last one helps so often, another one may. */
const stillHelping = 0.1

const most = 10

/** A delay that helps nearly as often as the best one, and is shorter, is the better one. */
const nearly = 0.9

const rateOf = ({ good, total }: { readonly good: number; readonly total: number }): number =>
  total === 0 ? 0 : good / total

const proposalOf = (retries: ReadonlyArray<Retry>): Proposal => {
  const helping = retries.filter((one) => one.total >= telling && rateOf(one) >= worthwhile)
  const [first, last] = [helping[0], helping.at(-1)]
  if (first === undefined || last === undefined) {
    const reason = `Retrying has hardly ever helped in ${retries[0]?.total ?? 0} cases.`
    return { policy: RetryPolicy.none, reason, estimatedSuccess: 0 }
  }
  const isLast = last.retry === retries.at(-1)?.retry
  const isMore = isLast && rateOf(last) >= stillHelping && last.retry < most
  const tooSoon = retries.filter(({ retry }) => retry < first.retry)
  const initialDelay = rounded(sum(tooSoon.map(medianDelay), "millis") + shortestGood(first.delays))
  const policy = RetryPolicy.exponential({
    maxRetries: last.retry - tooSoon.length + (isMore ? 1 : 0),
    initialDelay,
    factor: growthOf(retries),
    maxDelay: Math.max(initialDelay, rounded(longestGood(helping)))
  })
  const failing = helping.reduce((share, one) => share * (1 - rateOf(one)), 1)
  const after = isMore ? ", so one more may" : isLast ? "" : "; later ones hardly ever have"
  const reason = [
    `Retry ${last.retry} has helped in ${percent(rateOf(last))} of ${last.total} cases${after}.`,
    tooSoon.length > 0
      ? `What came before retry ${first.retry} came too soon.`
      : `A first delay of ${Duration.format(Duration.millis(initialDelay))} has helped nearly as often as longer ones.`
  ].join(" ")
  return { policy, reason, estimatedSuccess: 1 - failing }
}

const medianDelay = ({ delays }: Retry) => ({ millis: medianOf(delays) })

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

/** Those that were hardly ever tried tell nothing. */
const shortestGood = (delays: ReadonlyArray<Delayed>): number => {
  const enough = Math.max(1, sum(delays, "total") / 20)
  const tried = delays.filter(({ total }) => total >= enough)
  const best = Math.max(...tried.map(rateOf))
  return tried.find((one) => rateOf(one) >= best * nearly)?.millis ?? medianOf(delays)
}

/** By how much each delay was longer than that before it, on the whole. */
const growthOf = (retries: ReadonlyArray<Retry>): number => {
  const medians = retries.map((retry) => medianDelay(retry).millis)
  const growths = medians.slice(1).map((millis, i) => millis / Math.max(1, medians[i] ?? 1))
  if (growths.length === 0) return 2
  const mean = growths.reduce((product, growth) => product * growth, 1) ** (1 / growths.length)
  return Math.min(4, Math.max(1, Math.round(mean * 10) / 10))
}

/** To two digits: nobody believes more of them. */
const rounded = (millis: number): number => Number(millis.toPrecision(2))
