import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import type { Storage } from "effect-recovery"
import { shardOf } from "../../src/storage/shards.js"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { inEveryStorage } from "../support/everyStorage.js"
import type { Place } from "../support/storages.js"

const keys = FastCheck.constantFrom("a", "b", "c")
const processes = 3
const shards = 3
const leaseMillis = 5_000

/**
 * A run is started, a process claims some, of all shards or of those that it owns, the i-th leased one ends or is suspended, its process is killed and noticed,
 * or time passes, after which leases may have expired.
 */
const actions = FastCheck.array(
  FastCheck.oneof(
    {
      weight: 5,
      arbitrary: FastCheck.record({
        do: FastCheck.constant("start"),
        key: keys,
        priority: FastCheck.constantFrom(0, 0, 1)
      })
    },
    {
      weight: 4,
      arbitrary: FastCheck.record({
        do: FastCheck.constant("claim"),
        process: FastCheck.nat(processes - 1),
        owned: FastCheck.option(FastCheck.subarray([1, 2, 3]), { nil: undefined }),
        times: FastCheck.integer({ min: 1, max: 4 })
      })
    },
    { weight: 2, arbitrary: FastCheck.record({ do: FastCheck.constant("end"), lease: FastCheck.nat(5) }) },
    { weight: 1, arbitrary: FastCheck.record({ do: FastCheck.constant("suspend"), lease: FastCheck.nat(5) }) },
    { weight: 1, arbitrary: FastCheck.record({ do: FastCheck.constant("kill"), lease: FastCheck.nat(5) }) },
    {
      weight: 3,
      arbitrary: FastCheck.record({
        do: FastCheck.constant("pass"),
        millis: FastCheck.constantFrom(10, 300, 1_000, 6_000)
      })
    }
  ),
  { minLength: 10, maxLength: 40 }
)

type Action =
  | { readonly do: "start"; readonly key: string; readonly priority: number }
  | { readonly do: "claim"; readonly process: number; readonly times: number; readonly owned?: ReadonlyArray<number> }
  | { readonly do: "end" | "suspend" | "kill"; readonly lease: number }
  | { readonly do: "pass"; readonly millis: number }

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
  dueAt: number
  startedAt?: number
  leaseUntil?: number | undefined
  hasEnded?: true
}

/** The next run that a queue gives a lease to an owner of these shards, by a look at everything. */
const nextOf = (
  jobs: ReadonlyArray<Job>,
  now: number,
  { concurrency, perKey, rate }: Storage.QueueLimits,
  owned: ReadonlyArray<number> | undefined
) => {
  const ofKey = (key?: string) => jobs.filter((job) => key === undefined || job.key === key)
  const isRunning = ({ leaseUntil = 0 }: Job) => leaseUntil > now
  const running = (key?: string) => ofKey(key).filter(isRunning).length
  const recent = (key?: string) =>
    ofKey(key).filter(({ startedAt }) => startedAt !== undefined && now - startedAt < (rate?.millis ?? 0)).length
  const lastStart = (key: string) => Math.max(...ofKey(key).map(({ startedAt = -1 }) => startedAt))
  const since = ({ dueAt, leaseUntil = 0 }: Job) => Math.max(dueAt, leaseUntil)
  const hasPlace = ({ key, startedAt }: Job) =>
    running() < (concurrency ?? 99) &&
    running(key) < (perKey ?? 99) &&
    (startedAt !== undefined || recent(rate?.perKey === true ? key : undefined) < (rate?.limit ?? 99))
  return jobs
    .map((job, i) => {
      const isNew = job.startedAt === undefined ? 1 : 0
      return { job, rank: [-job.priority, running(job.key), lastStart(job.key), isNew, since(job), i] }
    })
    .filter(({ job }) => owned === undefined || owned.includes(shardOf(job.id, shards)))
    .filter(({ job }) => job.hasEnded === undefined && since(job) <= now && hasPlace(job))
    .sort((a, b) => {
      const i = a.rank.findIndex((rank, i) => rank !== b.rank[i])
      return (a.rank[i] ?? 0) - (b.rank[i] ?? 0)
    })[0]?.job
}

const live = (place: Place, queue: Storage.QueueLimits, life: ReadonlyArray<Action>) =>
  Effect.gen(function* () {
    const stores = yield* Effect.forEach(Array.from({ length: processes }), () => place.open)
    const jobs: Array<Job> = []
    const leases: Array<{ job: Job; until: number; lease: Storage.Lease; store: Storage.Store }> = []
    // The clock of the tests begins at 0, which is no time of a lease.
    let now = 1_000_000
    const pass = (millis: number) => {
      now += millis
      return TestClock.setTime(now)
    }
    const claim = (store: Storage.Store, owned: ReadonlyArray<number> | undefined) =>
      Effect.gen(function* () {
        const expected = nextOf(jobs, now, queue, owned)
        const placement = owned && { shards, owned }
        const query = { workflows: [{ workflow: "w", version: "1" }], queues: [queue], limit: 1, placement }
        const claimed = yield* store.claimDue(query, `owner-${now}`, leaseMillis)
        assert.deepStrictEqual(
          claimed.map(({ run }) => run.id),
          expected === undefined ? [] : [expected.id]
        )
        if (expected === undefined) return
        const until = now + leaseMillis
        Object.assign(expected, { startedAt: expected.startedAt ?? now, dueAt: now, leaseUntil: until })
        for (const one of claimed) {
          if (one._tag === "Claimed") leases.push({ job: expected, until, lease: one.lease, store })
        }
      })
    for (const action of life) {
      // Each action has a time of its own, so that the model need not know how equal times are ordered.
      yield* pass(1)
      if (action.do === "pass") yield* pass(action.millis)
      else if (action.do === "start") {
        const { key, priority } = action
        const id = `run-${jobs.length}`
        jobs.push({ id, key, priority, dueAt: now })
        const request = { id, workflow: "w", version: "1", input: "", labels: {} }
        yield* place.store.enqueue({ ...request, queue: { name: "q", key, priority } })
      } else if (action.do === "claim") {
        for (let i = 0; i < action.times; i++) {
          yield* claim(stores[action.process] as Storage.Store, action.owned)
          yield* pass(1)
        }
      } else {
        const [found] = leases.splice(action.lease, 1)
        // A lease that has expired is gone, and another process may have the run.
        if (found === undefined || found.until <= now || found.job.leaseUntil !== found.until) continue
        const { job, lease, store } = found
        job.leaseUntil = undefined
        if (action.do === "end") {
          job.hasEnded = true
          yield* store.finish(lease, { status: "completed", exit: "" })
        } else if (action.do === "suspend") {
          job.dueAt = now + 400
          yield* store.suspend(lease, { dueAt: job.dueAt, signals: 0, waiting: undefined })
        } else yield* place.store.release(lease.owner)
      }
    }
  })

const seed = seedOf(20261129)

inEveryStorage("a queue", (backend, share) => {
  it(`gives leases to the runs of its model, in random lives of its processes (seed ${seed})`, async () => {
    await FastCheck.assert(
      FastCheck.asyncProperty(limits, actions, (queue, life) =>
        Effect.flatMap(backend.make, (place) => live(place, queue, life as ReadonlyArray<Action>)).pipe(
          Effect.scoped,
          Effect.provide(TestContext.TestContext),
          Effect.runPromise
        )
      ),
      { numRuns: Math.ceil(lengthOf("QUEUE_LIVES") * share), seed, endOnFailure: backend.name !== "memory" }
    )
  })
})
