import { postgres } from "./costs.js"
import { Fleet, type FleetOptions, type PlannedRun } from "./fleet.js"
import type { Operation, Plan } from "./program.js"
import { Dice } from "./timeline.js"

export interface SimulateOptions {
  /** Keeps a text of each event. */
  readonly isRecorded?: boolean
  /** Plants a fault. */
  readonly plant?: FleetOptions["plant"]
}

export interface Result {
  readonly faults: ReadonlyArray<string>
  readonly lines: ReadonlyArray<string>
  readonly fleet: Fleet
}

const randomOperation = (dice: Dice, isFirst: boolean): Operation => {
  const roll = dice.next()
  if (roll < 0.35 || isFirst)
    return { kind: "step", millis: dice.chance(0.15) ? dice.whole(800, 2_500) : dice.whole(0, 400) }
  if (roll < 0.6) return { kind: "sleep", millis: dice.whole(1, 3) * 1_000 + dice.whole(0, 30) }
  if (roll < 0.85) return { kind: "signal" }
  if (roll < 0.93) return { kind: "retry", millis: dice.whole(0, 50), fails: dice.whole(1, 2) }
  return { kind: "child", millis: dice.whole(0, 2_000) }
}

const randomRun = (dice: Dice, number: number, spread: number): PlannedRun => {
  const plan: Plan = Array.from({ length: dice.whole(1, 4) }, (_, i) => randomOperation(dice, i === 0))
  return plannedRun(dice, number, spread, plan)
}

/** They sleep until nearly the same time, and work for long after that: nothing else makes a worker look. */
const alignedRun = (dice: Dice, number: number): PlannedRun => {
  const [sleep, work] = [2_000 + dice.whole(0, 20), dice.whole(500, 2_500)]
  return plannedRun(dice, number, 10, [
    { kind: "sleep", millis: sleep },
    { kind: "step", millis: work }
  ])
}

const plannedRun = (dice: Dice, number: number, spread: number, plan: Plan): PlannedRun => {
  return {
    id: `run-${number}`,
    at: dice.whole(0, spread),
    plan,
    signals: plan.map(() => ({
      after: dice.of(["start", "reached", "reached"]),
      delay: dice.chance(0.7) ? dice.whole(0, 40) : dice.whole(0, 3_000)
    }))
  }
}

/** How long faults happen, and how long runs may take, in milliseconds. */
const [faulty, limit] = [12_000, 180_000]

const disturb = (fleet: Fleet, dice: Dice, count: number): void => {
  for (let i = 0; i < count; i++) {
    const kind = dice.of(["crash", "pause", "cut", "rollOut"] as const)
    const [millis, back] = [dice.whole(200, 12_000), dice.whole(50, 3_000)]
    fleet.timeline.after(dice.whole(100, faulty), () => {
      const { workers } = fleet
      if (workers.length === 0) return
      const member = dice.of(workers)
      switch (kind) {
        case "crash":
          fleet.crash(member)
          return void fleet.timeline.after(back, () => fleet.startWorker(member.versions))
        case "pause":
          return fleet.pause(member, millis)
        case "cut":
          return fleet.cut(member, millis)
        case "rollOut":
          fleet.leave(member)
          return void fleet.startWorker(["1", "2"])
      }
    })
  }
}

/** Some fleets are placed by a cluster. */
const placingOf = (dice: Dice): FleetOptions["placing"] =>
  dice.chance(0.4)
    ? { shards: dice.whole(1, 12), notice: dice.of([0, 500, 8_000]), death: dice.of([500, 5_000, 20_000]) }
    : undefined

/** A small fleet with everything that can go wrong, chosen by the seed. */
export const simulate = async (seed: number, { isRecorded = false, plant }: SimulateOptions = {}): Promise<Result> => {
  const dice = new Dice(seed)
  const isPrivate = dice.chance(0.25)
  const isAligned = isPrivate && dice.chance(0.5)
  const isCalm = dice.chance(isPrivate ? 0.7 : 0.2)
  const slow = { from: dice.whole(0, faulty), to: dice.whole(0, faulty), times: dice.of([1, 5, 25]) }
  const skews = Array.from({ length: 64 }, () => (dice.chance(0.3) ? dice.whole(-5_000, 5_000) : 0))
  let fleet: Fleet | undefined
  const elapsed = () => (fleet === undefined ? 0 : fleet.timeline.now - 1_700_000_000_000)
  const options: FleetOptions = {
    seed,
    concurrency: dice.whole(1, 5),
    sweep: dice.of([300, 500, 1_000]),
    lease: dice.of([3_000, 10_000]),
    patience: dice.of([0, 500, 1_000]),
    drain: dice.of([0, 300, 10_000]),
    server: {
      cores: dice.whole(1, 2),
      costs: postgres,
      isRandom: true,
      slowness: () => (elapsed() > slow.from && elapsed() < slow.to ? slow.times : 1)
    },
    link: {
      delay: dice.of(isAligned ? [2, 5] : [0.1, 1, 5]),
      jitter: dice.of([0.1, 1, 10]),
      loss: isCalm ? 0 : dice.of([0, 0.002, 0.02]),
      timeout: dice.of([1_000, 4_000]),
      pool: dice.of([1, 5, 10])
    },
    hasNews: !isPrivate && dice.chance(0.5),
    isPrivate,
    deathNotice: dice.chance(0.5) ? 1_000 : undefined,
    skew: (process) => skews[process % skews.length] ?? 0,
    placing: isPrivate ? undefined : placingOf(new Dice(seed + 3)),
    isChecked: true,
    isRecorded,
    plant
  }
  fleet = new Fleet(options)
  if (!isPrivate) for (let i = dice.whole(1, 3); i > 0; i--) fleet.startWorker()
  const { timeline } = fleet
  const runs = Array.from({ length: isAligned ? dice.whole(2, 3) : dice.whole(3, 7) }, (_, i) =>
    isAligned ? alignedRun(dice, i) : randomRun(dice, i, dice.of([10, 8_000]))
  )
  for (const run of runs) fleet.plan(run, () => "1")
  if (!isPrivate && !isCalm) disturb(fleet, dice, dice.whole(1, 5))
  if (isPrivate && dice.chance(0.3)) {
    const [only] = fleet.workers
    const millis = dice.whole(200, 12_000)
    timeline.after(dice.whole(100, faulty), () => only !== undefined && fleet?.pause(only, millis))
  }
  const faults = await fleet.run(limit)
  return { faults, lines: fleet.watch.lines, fleet }
}
