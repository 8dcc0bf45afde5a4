import { postgres } from "./costs.js"
import { beginning, Fleet, type FleetOptions } from "./fleet.js"
import type { Plan } from "./program.js"
import { Dice } from "./timeline.js"

export interface ScaleOptions {
  readonly workers: number
  readonly runs: number
  /** Runs that are started in a second. */
  readonly rate: number
  readonly cores: number
  readonly hasNews: boolean
  /** Workers that are killed, one each five seconds, and started again two seconds later. */
  readonly crashes?: number | undefined
  readonly sweep?: number | undefined
}

/** What one simulation measures. Times are in milliseconds. */
export interface Figures extends ScaleOptions {
  readonly seconds: number
  readonly ended: number
  /** While runs are started, from the time on when the first have ended. The following three are of that time, too. */
  readonly endedPerSecond: number
  readonly claimsPerRun: number
  /** The share of claims that got nothing. */
  readonly wasted: number
  readonly wakeUp: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly recovery: { readonly p50: number; readonly max: number } | undefined
  /** The most and the fewest runs that a worker had, over the average. */
  readonly fairness: { readonly least: number; readonly most: number }
  /** The share of the server's cores that was busy, and of each kind of statement. */
  readonly busy: number
  readonly load: Readonly<Record<string, number>>
  readonly faults: ReadonlyArray<string>
}

/** Four steps, and one sleep of five seconds in every fourth run. */
const planOf = (number: number): Plan => {
  const step = { kind: "step", millis: 20 } as const
  return number % 4 === 0 ? [step, step, { kind: "sleep", millis: 5_000 }, step, step] : [step, step, step, step]
}

const quantile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

interface Snapshot {
  at: number
  claims: number
  empty: number
  ended: number
  readonly busy: Map<string, number>
}

const snapshotAt = ({ server, timeline, watch }: Fleet, at: number): Snapshot => {
  const snapshot: Snapshot = { at, claims: 0, empty: 0, ended: 0, busy: new Map() }
  timeline.at(beginning + at, () => {
    const { claims, empty } = watch.measures
    Object.assign(snapshot, { claims, empty, ended: watch.ended })
    for (const [kind, { busy }] of server.loads) snapshot.busy.set(kind, busy)
  })
  return snapshot
}

/** Many workers on one Postgres of so many cores, and runs that are started at a steady rate. */
export const simulateScale = async (seed: number, scale: ScaleOptions): Promise<Figures> => {
  const { cores, crashes = 0, hasNews, rate, runs, sweep = 1_000, workers } = scale
  const options: FleetOptions = {
    seed,
    concurrency: 10,
    sweep,
    lease: 30_000,
    patience: 1_000,
    drain: 10_000,
    server: { cores, costs: postgres, isRandom: true },
    link: { delay: 0.25, jitter: 0.05, loss: 0, timeout: 30_000, pool: 10 },
    hasNews,
    isPrivate: false,
    deathNotice: 1_500,
    skew: () => 0,
    isChecked: false,
    isRecorded: false
  }
  const fleet = new Fleet(options)
  const dice = new Dice(seed + 2)
  for (let i = 0; i < workers; i++) fleet.timeline.after(dice.next() * 1_000, () => fleet.startWorker())
  for (let i = 0; i < runs; i++) {
    fleet.plan({ id: `run-${i}`, at: 2_000 + (i / rate) * 1_000, plan: planOf(i), signals: [] }, () => "1")
  }
  for (let i = 0; i < crashes; i++) {
    fleet.timeline.after(4_000 + i * 5_000, () => {
      fleet.crash(dice.of(fleet.workers))
      fleet.timeline.after(2_000, () => fleet.startWorker())
    })
  }
  const settled = 2_000 + 0.3 * ((runs / rate) * 1_000)
  const [from, to] = [settled, 2_000 + (runs / rate) * 1_000].map((at) => snapshotAt(fleet, at)) as [Snapshot, Snapshot]
  // Past the last start: what is not done by then was too much for the server.
  const faults = await fleet.run(2_000 + (runs / rate) * 1_000 + 120_000)
  const { measures } = fleet.watch
  const elapsed = fleet.timeline.now - beginning
  const wakeUps = [...measures.wakeUps].sort((a, b) => a - b)
  const recoveries = [...measures.recoveries].sort((a, b) => a - b)
  const claimed = [...fleet.watch.tallies.values()].filter(({ isOut }) => !isOut).map(({ claimed }) => claimed)
  const average = claimed.reduce((sum, one) => sum + one, 0) / claimed.length
  const window = to.at - from.at
  const load = Object.fromEntries(
    [...to.busy].map(([kind, busy]) => [kind, (busy - (from.busy.get(kind) ?? 0)) / (window * cores)])
  )
  const claims = to.claims - from.claims
  return {
    ...scale,
    seconds: elapsed / 1_000,
    ended: fleet.watch.ended,
    endedPerSecond: (1_000 * (to.ended - from.ended)) / window,
    claimsPerRun: (1_000 * claims) / (window * rate),
    wasted: (to.empty - from.empty) / claims,
    wakeUp: { p50: quantile(wakeUps, 0.5), p99: quantile(wakeUps, 0.99), max: wakeUps.at(-1) ?? 0 },
    recovery: recoveries.length === 0 ? undefined : { p50: quantile(recoveries, 0.5), max: recoveries.at(-1) ?? 0 },
    fairness: { least: Math.min(...claimed) / average, most: Math.max(...claimed) / average },
    busy: Object.values(load).reduce((sum, one) => sum + one, 0),
    load,
    faults
  }
}
