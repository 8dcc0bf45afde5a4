import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import { Storage } from "effect-recovery"
import { lengthOf, seedOf } from "../support/campaigns.js"

const keys = FastCheck.constantFrom("a", "b", "c")

/** A run is started, a worker claims some, the i-th leased one ends, or time passes. */
const actions = FastCheck.array(
  FastCheck.oneof(
    { weight: 4, arbitrary: FastCheck.record({ start: keys, priority: FastCheck.constantFrom(0, 0, 1) }) },
    { weight: 3, arbitrary: FastCheck.record({ claim: FastCheck.integer({ min: 1, max: 4 }) }) },
    { weight: 2, arbitrary: FastCheck.record({ end: FastCheck.nat(5) }) },
    { weight: 2, arbitrary: FastCheck.record({ pass: FastCheck.constantFrom(10, 300, 1_000) }) }
  ),
  { minLength: 10, maxLength: 40 }
)

const limit = FastCheck.option(FastCheck.integer({ min: 1, max: 3 }), { nil: undefined })
const limits = FastCheck.record({
  name: FastCheck.constant("q"),
  concurrency: limit,
  perKey: limit,
  rate: FastCheck.option(
    FastCheck.record({
      limit: FastCheck.integer({ min: 1, max: 3 }),
      millis: FastCheck.constant(1_000),
      perKey: FastCheck.boolean()
    }),
    { nil: undefined }
  )
})

interface Job {
  readonly id: string
  readonly key: string
  readonly priority: number
  startedAt?: number
  ended?: true
}

/** The next run that a queue starts, by a look at everything. */
const nextOf = (jobs: ReadonlyArray<Job>, now: number, { concurrency, perKey, rate }: Storage.QueueLimits) => {
  const started = (key?: string) =>
    jobs.filter((job) => job.startedAt !== undefined && (key === undefined || job.key === key))
  const running = (key?: string) => started(key).filter(({ ended }) => ended === undefined).length
  const recent = (key?: string) => started(key).filter((job) => now - (job.startedAt ?? 0) < (rate?.millis ?? 0)).length
  const lastStart = (key: string) => Math.max(-1, ...started(key).map(({ startedAt = 0 }) => startedAt))
  return jobs
    .filter(({ startedAt }) => startedAt === undefined)
    .filter(
      ({ key }) =>
        running() < (concurrency ?? 99) &&
        running(key) < (perKey ?? 99) &&
        recent(rate?.perKey === true ? key : undefined) < (rate?.limit ?? 99)
    )
    .map((job, i) => ({ job, rank: [-job.priority, running(job.key), lastStart(job.key), i] }))
    .sort((a, b) => {
      const i = a.rank.findIndex((rank, i) => rank !== b.rank[i])
      return (a.rank[i] ?? 0) - (b.rank[i] ?? 0)
    })[0]?.job
}

const live = (queue: Storage.QueueLimits, life: ReadonlyArray<Record<string, unknown>>) =>
  Effect.gen(function* () {
    const store = Storage.memoryStore()
    const jobs: Array<Job> = []
    const leases: Array<Storage.Lease> = []
    let now = 0
    for (const action of life as ReadonlyArray<{
      start?: string
      priority?: number
      claim?: number
      end?: number
      pass?: number
    }>) {
      const { claim, end, pass, priority = 0, start } = action
      // Each run has a start of its own, so that the model need not know how equal times are ordered.
      now += 1 + (pass ?? 0)
      yield* TestClock.setTime(now)
      if (start !== undefined) {
        const id = `run-${jobs.length}`
        jobs.push({ id, key: start, priority })
        yield* store.enqueue({
          id,
          workflow: "w",
          version: "1",
          input: "",
          labels: {},
          queue: { name: "q", key: start, priority }
        })
      }
      for (let i = 0; i < (claim ?? 0); i++) {
        const expected = nextOf(jobs, now, queue)
        const query = { workflows: [{ workflow: "w", version: "1" }], queues: [queue], limit: 1 }
        const claimed = yield* store.claimDue(query, `owner-${now}`, 1e9)
        assert.deepStrictEqual(
          claimed.map(({ run }) => run.id),
          expected === undefined ? [] : [expected.id]
        )
        if (expected !== undefined) expected.startedAt = now
        leases.push(...claimed.flatMap((one) => (one._tag === "Claimed" ? [one.lease] : [])))
        now++
        yield* TestClock.setTime(now)
      }
      const [ended] = end === undefined ? [] : leases.splice(end, 1)
      if (ended === undefined) continue
      yield* store.finish(ended, { status: "completed", exit: "" })
      for (const job of jobs) if (job.id === ended.run) job.ended = true
    }
  }).pipe(Effect.provide(TestContext.TestContext))

const seed = seedOf(20261129)

it(`a queue in memory starts the runs that its model starts, in random lives (seed ${seed})`, async () => {
  await FastCheck.assert(
    FastCheck.asyncProperty(limits, actions, (queue, life) => Effect.runPromise(live(queue, life))),
    { numRuns: lengthOf("QUEUE_LIVES"), seed, endOnFailure: false }
  )
})
