import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../../storage/Storage.js"
import { type Contract, enqueued, entry, find, open } from "../fixtures.js"
import { eventLoopTurn } from "../testClock.js"
import { after, areTheirOwn, eachAtOnce, pace, range, runNames } from "./support.js"

const workflows = [{ workflow: "checkout", version: "1" }]

const claim = (
  store: Storage.Store,
  owner: string,
  queues: ReadonlyArray<Storage.QueueLimits>,
  limit: number
): Effect.Effect<ReadonlyArray<Extract<Storage.DueRun, { readonly _tag: "Claimed" }>>, Storage.StorageError> =>
  Effect.map(store.claimDue({ workflows, queues, limit }, owner, 30_000), (due) =>
    due.flatMap((one) => (one._tag === "Claimed" ? [one] : []))
  )

const enqueueAll = (store: Storage.Store, names: ReadonlyArray<string>, queue: string, keys: number) =>
  eachAtOnce(names, (id, i) => enqueued(store, id, { queue: { name: queue, key: `${i % keys}`, priority: i % 3 } }))

/** Claims that find nothing while other workers have all places. No store needs so many. */
const mostIdle = 100_000

/** The runs that workers have, from the answer of their claim to the beginning of their end. */
class Running {
  private readonly all = new Map<string, string>()

  add({ id, queue }: Storage.Run, concurrency: number, perKey: number): void {
    const key = queue?.key ?? ""
    this.all.set(id, key)
    assert.ok(this.all.size <= concurrency, `${this.all.size} runs of a queue that allows ${concurrency}`)
    const ofKey = [...this.all.values()].filter((one) => one === key).length
    assert.ok(ofKey <= perKey, `${ofKey} runs of a key of a queue that allows ${perKey}`)
  }

  remove(id: string): void {
    this.all.delete(id)
  }
}

/** Queues whose runs several callers claim at once. */
export const concurrentQueues: Contract = {
  *"workers that claim a queue at once never exceed its limits, and work all of it off"(store) {
    const limits = { name: "encode", concurrency: 5, perKey: 2 }
    const names = runNames(60)
    yield* enqueueAll(store, names, "encode", 4)
    const running = new Running()
    const done = new Set<string>()
    const work = (owner: string) =>
      Effect.gen(function* () {
        for (let idle = 0; done.size < names.length && idle < mostIdle; idle++) {
          const claimed = yield* claim(store, owner, [limits], 3)
          for (const { run } of claimed) running.add(run, limits.concurrency, limits.perKey)
          for (const { lease, run } of claimed) {
            yield* pace(store, 2)
            running.remove(run.id)
            yield* store.finish(lease, { status: "completed", exit: "" })
            done.add(run.id)
          }
          yield* eventLoopTurn
        }
      })
    yield* eachAtOnce(range(8), (i) => work(`worker-${i}`))
    assert.strictEqual(done.size, names.length)
  },

  *"callers that claim a queue at once start no more runs than its rate allows"(store) {
    const rates: ReadonlyArray<Storage.QueueLimits> = [
      { name: "all", rate: { limit: 7, millis: 10_000, perKey: false } },
      { name: "each", rate: { limit: 2, millis: 10_000, perKey: true } }
    ]
    for (const [i, limits] of rates.entries()) {
      yield* enqueueAll(
        store,
        runNames(40).map((name) => `${i} ${name}`),
        limits.name,
        3
      )
      const most = i === 0 ? 7 : 6
      for (const round of range(3)) {
        const claims = yield* eachAtOnce(range(6), (at) => claim(store, `${i}-${round}-${at}`, [limits], 3))
        const rest = yield* claim(store, `${i}-${round}-rest`, [limits], 40)
        const all = [...claims.flat(), ...rest]
        assert.strictEqual(all.length, most)
        yield* areTheirOwn(
          store,
          all.map(({ lease }) => lease)
        )
        yield* eachAtOnce(all, ({ lease }) => store.finish(lease, { status: "completed", exit: "" }))
        yield* TestClock.adjust("10 seconds")
      }
    }
  },

  *"callers that claim several queues in different orders do not wait for each other for ever"(store) {
    const limits = ["a", "b", "c"].map((name) => ({ name, concurrency: 4 }))
    for (const { name } of limits)
      yield* enqueueAll(
        store,
        runNames(12).map((run) => `${name} ${run}`),
        name,
        2
      )
    for (const round of range(4)) {
      const claims = yield* eachAtOnce(range(6), (i) =>
        claim(store, `${round}-${i}`, [...limits.slice(i % 3), ...limits.slice(0, i % 3)], 4)
      )
      const leases = claims.flat().map(({ lease }) => lease)
      for (const { name } of limits) assert.ok(leases.filter(({ run }) => run.startsWith(name)).length <= 4)
      yield* areTheirOwn(store, leases)
      yield* eachAtOnce(leases, ({ owner, run }) => store.release(owner, run))
    }
  },

  *"a run whose input is replaced while it is leased has the input that its owner was given"(store) {
    for (const round of range(4)) {
      const names = runNames(20).map((name) => `${round} ${name}`)
      yield* eachAtOnce(names, (id) => enqueued(store, id, { input: "0" }))
      const [claims, opens] = yield* Effect.all(
        [
          eachAtOnce(range(4), (i) => after(store, i, claim(store, `claims-${round}-${i}`, [], 4))),
          eachAtOnce(names, (id, i) => after(store, i % 3, open(store, id, `opens-${round}-${i}`, { input: "0" }))),
          eachAtOnce(names, (id) => enqueued(store, id, { input: "1", debounce: true })),
          eachAtOnce(names, (id, i) => after(store, i % 4, enqueued(store, id, { input: "2", debounce: true })))
        ],
        { concurrency: "unbounded" }
      )
      const leased = [...claims.flat(), ...opens.flatMap((one) => ("lease" in one ? [one] : []))]
      for (const { lease, run } of leased) {
        assert.strictEqual((yield* find(store, run.id)).input, run.input)
        yield* store.append(lease, [entry(1)])
        yield* store.finish(lease, { status: "completed", exit: "" })
      }
    }
  }
}
