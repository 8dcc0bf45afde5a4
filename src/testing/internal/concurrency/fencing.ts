import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../../storage/Storage.js"
import { type Contract, entry, open, opened, snapshot } from "../fixtures.js"
import { eventLoopTurn } from "../testClock.js"
import { claimSome, eachAtOnce, isKept, openAll, pace, range } from "./support.js"

type Writing = Effect.Effect<unknown, Storage.StorageError | Storage.LeaseLost>

/** A write under a lease, large enough that a takeover fits between its beginning and its end. */
interface Fenced {
  readonly prepare?: (store: Storage.Store, lease: Storage.Lease) => Writing
  readonly write: (store: Storage.Store, lease: Storage.Lease) => Writing
}

/** Ends the lease in another way each: the run is then advanced by another owner, or by none. */
type Takeover = (store: Storage.Store, lease: Storage.Lease) => Effect.Effect<unknown, unknown>

/** The lease has expired, so most of them need one statement. */
const takeovers: ReadonlyArray<Takeover> = [
  (store, { run }) => Effect.map(open(store, run, "b"), opened),
  // A store may skip a run that is being written, so the claim is repeated.
  (store, { run }) =>
    Effect.map(
      Effect.repeat(Effect.zipRight(eventLoopTurn, claimSome(store, "b", 10)), {
        until: (leases) => leases.length > 0,
        times: 100_000
      }),
      (leases) =>
        assert.deepStrictEqual(
          leases.map((lease) => lease.run),
          [run]
        )
    ),
  (store, { owner, run }) => Effect.zipRight(store.release(owner, run), Effect.map(open(store, run, "b"), opened)),
  (store, lease) => isKept(store.finish(lease, { status: "completed", exit: "" }))
]

/** How many reads pass between the beginning of the write and the takeover. */
const paces = [0, 1, 3, 8]

/** Everything that a write under the lease of the run can change. */
const stateOf = (store: Storage.Store, { key, run }: Storage.Lease) =>
  Effect.map(
    Effect.all(
      {
        journal: store.journal(key),
        snapshots: store.snapshots({ run, rewound: true, limit: Number.POSITIVE_INFINITY })
      },
      { concurrency: "unbounded" }
    ),
    ({ journal, snapshots }) => ({
      lines: journal.map(({ seq }) => seq),
      snapshots: snapshots.map(({ key, rewound }) => [key, rewound] as const)
    })
  )

/**
 * Writes while the lease is taken over. What the new owner reads is the end of the old one: an acknowledged write is
 * there, a refused one is not, and nothing comes after it.
 */
const race = (store: Storage.Store, { prepare, write }: Fenced) =>
  Effect.gen(function* () {
    for (const [i, reads] of paces.entries()) {
      for (const [j, takeover] of takeovers.entries()) {
        const lease = opened(yield* open(store, `run-${i}-${j}`, "a"))
        if (prepare !== undefined) yield* prepare(store, lease)
        const before = yield* stateOf(store, lease)
        yield* TestClock.adjust("31 seconds")
        const writing = yield* Effect.fork(isKept(write(store, lease)))
        yield* pace(store, reads)
        yield* takeover(store, lease)
        const read = yield* stateOf(store, lease)
        const isDone = yield* Fiber.join(writing)
        const last = yield* stateOf(store, lease)
        assert.deepStrictEqual(read, last, "The new owner read another state than the last.")
        assert.strictEqual(JSON.stringify(last) !== JSON.stringify(before), isDone, "The write and its answer differ.")
        yield* store.release("b")
        // No later round claims it.
        const again = yield* open(store, lease.run, "c")
        if ("lease" in again) yield* store.finish(again.lease, { status: "completed", exit: "" })
      }
    }
  })

const lines = range(2_000).map((i) => entry(i + 1))

const bigState = (() => {
  // Digits without a pattern, so that no database compresses them to nothing.
  let seed = 1
  const digits = range(100_000).map(() => {
    seed = (seed * 48_271) % 0x7fffffff
    return seed.toString(36)
  })
  return digits.join("")
})()

const longLine = entry(1, { payload: bigState })

const points = (count: number) => range(count).map((i) => ({ snapshot: snapshot({ seq: i, labels: {} }) }))

/** Writes under a lease that is lost meanwhile. */
export const fencingContract: Contract = {
  *"a new owner reads every acknowledged line, and no line comes after it"(store) {
    yield* race(store, { write: (store, lease) => store.append(lease, lines) })
  },

  *"a new owner reads an acknowledged line, however long it is"(store) {
    yield* race(store, { write: (store, lease) => store.append(lease, [longLine]) })
  },

  *"a new owner reads every acknowledged snapshot, with its line"(store) {
    const line = { ...entry(1), payload: ["", ""] as const }
    yield* race(store, {
      write: (store, lease) =>
        store.save(snapshot({ run: lease.run, state: bigState }), { lease, entry: line, after: 0 })
    })
  },

  *"a new owner reads all or none of the snapshots that are saved together"(store) {
    yield* race(store, {
      write: (store, lease) =>
        store.saveAll(
          points(300).map((save) => ({ snapshot: { ...save.snapshot, run: lease.run } })),
          lease
        )
    })
  },

  *"a new owner reads everything that an acknowledged rewind revoked"(store) {
    yield* race(store, {
      prepare: (store, { run }) => store.saveAll(points(300).map((save) => ({ snapshot: { ...save.snapshot, run } }))),
      write: (store, lease) => store.rewind(lease, entry(1), { after: 5, within: "" })
    })
  },

  *"a new owner reads every acknowledged line of a transaction"(store) {
    const lease = opened(yield* open(store, "probe", "a"))
    const body = Effect.succeed(["done", [longLine]] as const)
    const probe = yield* Effect.either(store.transactional(lease, body))
    yield* store.finish(lease, { status: "completed", exit: "" })
    // A store without a SQL client refuses.
    if (probe._tag === "Right") yield* race(store, { write: (store, lease) => store.transactional(lease, body) })
  },

  *"of many appends at once, those before the end of the lease are stored, in their order"(store) {
    for (const reads of paces) {
      const names = range(10).map((i) => `run-${reads}-${i}`)
      const leases = yield* openAll(store, names, "a")
      const writing = yield* Effect.fork(
        eachAtOnce(leases, (lease) => eachAtOnce(range(40), (i) => isKept(store.append(lease, [entry(i + 1)]))))
      )
      yield* pace(store, reads)
      const ended = leases.filter((_, i) => i % 2 === 0)
      const read = yield* eachAtOnce(ended, (lease) =>
        Effect.zipRight(
          Effect.zipRight(store.release("a", lease.run), open(store, lease.run, "b")),
          seqsOf(store, lease)
        )
      )
      const kept = yield* Fiber.join(writing)
      for (const [i, lease] of leases.entries()) {
        const answers = kept[i] ?? []
        const acknowledged = answers.flatMap((isKept, at) => (isKept ? [at + 1] : []))
        assert.deepStrictEqual(yield* seqsOf(store, lease), acknowledged)
        assert.deepStrictEqual(
          acknowledged,
          range(acknowledged.length).map((at) => at + 1)
        )
        if (i % 2 === 0) assert.deepStrictEqual(read[i / 2], acknowledged)
        else assert.strictEqual(acknowledged.length, 40)
      }
    }
  },

  *"appends of one run end in the order of their calls, however long they are"(store) {
    const leases = yield* openAll(store, ["one", "two", "three"], "a")
    const ended = new Map(leases.map(({ run }) => [run, [] as Array<number>]))
    yield* eachAtOnce(range(90), (i) => {
      const lease = leases[i % 3] as Storage.Lease
      // A long append before a short one.
      const entries = range(i % 6 < 3 ? 200 : 1).map((at) => entry(1_000 * i + at))
      return Effect.map(store.append(lease, entries), () => void ended.get(lease.run)?.push(i))
    })
    for (const [at, { run }] of leases.entries()) {
      assert.deepStrictEqual(
        ended.get(run),
        range(30).map((i) => 3 * i + at)
      )
    }
  }
}

const seqsOf = (
  store: Storage.Store,
  { key }: Storage.Lease
): Effect.Effect<ReadonlyArray<number>, Storage.StorageError> =>
  Effect.map(store.journal(key), (journal) => journal.map(({ seq }) => seq))
