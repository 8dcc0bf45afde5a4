import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import type * as Storage from "../../../storage/Storage.js"
import { type Contract, entry, failure, find, request, snapshot } from "../fixtures.js"
import { eventLoopTurn } from "../testClock.js"
import { eachAtOnce, isKept, openAll, range, runNames } from "./support.js"

/** Whether the store has a SQL client for the steps of a program. A store without one refuses them. */
const hasClient = (store: Storage.Store) =>
  Effect.gen(function* () {
    const [lease] = yield* openAll(store, ["probe"], "probe")
    if (lease === undefined) return false
    const probe = yield* Effect.either(store.transactional(lease, Effect.succeed([undefined, []] as const)))
    yield* store.release("probe")
    return Either.isRight(probe)
  })

type OperationError = Storage.StorageError | Storage.LeaseLost | Storage.RestoreConflict

/** Refused at once because of the transaction, or done. */
const isUsableOrRefused = (operation: Effect.Effect<unknown, OperationError>) =>
  Effect.matchEffect(operation, {
    onSuccess: () => Effect.void,
    onFailure: (error) => {
      const isRefusal = error._tag === "LeaseLost" || (error._tag === "StorageError" && error.reason === "Client")
      return isRefusal ? Effect.void : Effect.fail(error)
    }
  })

/** Every operation that a body can call and must not wait in. */
const operations = (
  store: Storage.Store,
  lease: Storage.Lease,
  run: Storage.Run
): Readonly<
  Record<
    Exclude<keyof Storage.Store, "transactional" | "renew" | "release" | "changes">,
    Effect.Effect<unknown, OperationError>
  >
> => ({
  open: store.open(request("other"), "b", 30_000),
  claimDue: store.claimDue({ workflows: [{ workflow: "checkout", version: "1" }], limit: 1 }, "b", 30_000),
  endPlacedLeases: store.endPlacedLeases({ shards: 9, owned: [1], by: "b" }),
  append: store.append({ ...lease, token: 9 }, [entry(8)]),
  rewind: store.rewind({ ...lease, token: 9 }, entry(9), { after: 0, within: "" }),
  reopen: store.reopen({ ...run, token: 9 }, entry(9), "b", 30_000),
  finish: store.finish({ ...lease, token: 9 }, { status: "completed", exit: "" }),
  suspend: store.suspend({ ...lease, token: 9 }, { dueAt: 0, signals: 0 }),
  enqueue: store.enqueue(request("enqueued")),
  hold: store.hold("no-such-run", { id: "h", reason: "" }),
  releaseHold: store.releaseHold("no-such-run", "h"),
  cancel: store.cancel("no-such-run", "{}"),
  terminate: store.terminate("no-such-run", { status: "cancelled", exit: "" }),
  continueAs: store.continueAs({ ...lease, token: 9 }, { input: "", entry: entry(9), read: [] }),
  adopt: store.adopt({ ...lease, token: 9 }, "2"),
  controls: store.controls([lease]),
  queues: store.queues,
  signal: store.signal("no-such-run", "go", "1"),
  signals: store.signals(lease.key),
  backlog: store.backlog,
  find: store.find(lease.run),
  journal: store.journal(lease.key),
  payload: store.payload(lease.key, 1),
  list: store.list({}),
  removeRuns: store.removeRuns([]),
  countRuns: store.countRuns,
  save: store.save(snapshot(), {}),
  saveAll: store.saveAll([{ snapshot: snapshot() }]),
  snapshots: store.snapshots({}),
  fullSnapshots: store.fullSnapshots({}),
  newest: store.newest({}),
  snapshot: store.snapshot(1),
  remove: store.remove([1]),
  lock: store.lock("task", "b", 30_000),
  renewLock: store.renewLock({ name: "task", token: 1, owner: "c" }, 30_000),
  unlock: store.unlock("task", "c"),
  findLock: store.findLock("task"),
  locks: store.locks,
  removeLocks: store.removeLocks(0),
  write: store.write(failure("f"), [{ name: "failures", add: 1 }]),
  findRecord: store.findRecord("failure", "f"),
  records: store.records({ kind: "failure" }),
  removeRecords: store.removeRecords([1]),
  count: store.count([{ name: "failures", add: 1 }]),
  counters: store.counters(""),
  usage: store.usage,
  check: store.check,
  restore: store.restore([{ _tag: "Counter", counter: { name: "restored", value: 1 } }]),
  now: store.now
})

/** Transactions of the program on the store's own client, and what happens beside and inside of them. */
export const concurrentTransactions: Contract = {
  *"more transactions at once than a pool has connections all end"(store) {
    if (!(yield* hasClient(store))) return
    const leases = yield* openAll(store, runNames(40), "a")
    const values = yield* eachAtOnce(leases, (lease, i) =>
      Effect.zipRight(
        store.append(lease, [entry(1)]),
        store.transactional(lease, Effect.as(eventLoopTurn, [i, [entry(2), entry(3)]] as const))
      )
    )
    assert.deepStrictEqual(values, range(40))
    for (const { key } of leases) assert.deepStrictEqual(yield* store.journal(key), [entry(1), entry(2), entry(3)])
  },

  *"inside of a transaction each operation is usable or refused at once"(store) {
    if (!(yield* hasClient(store))) return
    const [lease] = yield* openAll(store, ["run-1"], "a")
    assert.ok(lease !== undefined)
    const all = Object.entries(operations(store, lease, yield* find(store, "run-1")))
    for (const [i, [, operation]] of all.entries()) {
      const body = Effect.as(isUsableOrRefused(operation), [i, [entry(i + 1)]] as const)
      assert.strictEqual(yield* store.transactional(lease, body), i)
    }
    // All of them in one transaction, as many as a pool may have connections and more.
    const together = eachAtOnce(all, ([, operation]) => isUsableOrRefused(operation))
    yield* store.transactional(lease, Effect.as(together, ["all", [entry(1_000)]] as const))
    const nested = store.transactional(lease, Effect.succeed(["inner", [entry(1_001)]] as const))
    yield* store.transactional(lease, Effect.as(isUsableOrRefused(nested), ["outer", [entry(1_002)]] as const))
    const seqs = (yield* store.journal(lease.key)).map(({ seq }) => seq).filter((seq) => seq !== 1_001)
    assert.deepStrictEqual(seqs, [...range(all.length).map((i) => i + 1), 1_000, 1_002])
  },

  *"leases are renewed and released beside transactions that began before"(store) {
    if (!(yield* hasClient(store))) return
    const leases = yield* openAll(store, runNames(20), "a")
    const others = yield* openAll(store, ["other-1", "other-2"], "b")
    // What a body forks carries the body's transaction with it.
    const bodies = yield* eachAtOnce(leases, (lease) =>
      store.transactional(
        lease,
        Effect.map(
          Effect.forkDaemon(Effect.zipLeft(store.renew([lease, ...others], 30_000), store.release("b", "other-2"))),
          (fiber) => [fiber, [entry(1)]] as const
        )
      )
    )
    for (const fiber of bodies) {
      // A join would bring the transaction along.
      const lost = yield* Effect.flatten(Fiber.await(fiber))
      assert.deepStrictEqual(
        lost.filter(({ run }) => run !== "other-2"),
        []
      )
    }
    assert.strictEqual((yield* find(store, "other-1")).owner, "b")
    assert.strictEqual((yield* find(store, "other-2")).owner, undefined)
    const kept = yield* eachAtOnce(leases, (lease) => isKept(store.append(lease, [entry(2)])))
    assert.ok(kept.every((isKept) => isKept))
  }
}
