import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import { Storage } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { connect } from "../support/drivers.js"
import { temporaryFile } from "../support/files.js"
import { turns } from "../support/time.js"

const request = { id: "1", workflow: "w", version: "1", input: "", labels: {} }
const entry = (seq: number) => ({ seq, kind: "x", step: "", attempt: 1, at: 0, payload: undefined })
const snapshot: Omit<Storage.FullSnapshot, "key" | "rewound"> = {
  ...{
    run: undefined,
    step: "",
    seq: 0,
    name: "n",
    own: undefined,
    kind: "manual",
    version: 1,
    schema: "",
    digest: "",
    size: 0
  },
  ...{ encoding: "json", labels: {}, about: "{}", at: 0, state: "1" }
}
const record = { kind: "k", id: "1", subject: "", scope: "", status: "", labels: {}, revision: 0, body: "{}" }

type Operation = (store: Storage.Store, run: Storage.Run, lease: Storage.Lease) => Effect.Effect<unknown, Failure>

type Failure = Storage.StorageError | Storage.LeaseLost | Storage.RestoreConflict

type Answer = Either.Either<unknown, Failure>

/** One call of each operation that writes. */
const writes: Readonly<Record<string, Operation>> = {
  open: (store) => store.open({ ...request, id: "2" }, "b", 1_000),
  claimDue: (store) => store.claimDue({ workflows: [request], limit: 1 }, "b", 1_000),
  append: (store, _, lease) => store.append(lease, [entry(1)]),
  transactional: (store, _, lease) => store.transactional(lease, Effect.succeed(["", [entry(2)]] as const)),
  rewind: (store, _, lease) => store.rewind(lease, entry(3), { after: 0, within: "" }),
  enqueue: (store) => store.enqueue({ ...request, id: "3" }),
  endPlacedLeases: (store) => store.endPlacedLeases({ shards: 1, owned: [1], by: "b" }),
  hold: (store, run) => store.hold(run.id, { id: "h", reason: "" }),
  releaseHold: (store, run) => store.releaseHold(run.id, "h"),
  cancel: (store, run) => store.cancel(run.id, "{}"),
  terminate: (store, run) => store.terminate(run.id, { status: "cancelled", exit: "{}" }),
  continueAs: (store, _, lease) => store.continueAs(lease, { input: "", entry: entry(5), read: [] }),
  adopt: (store, _, lease) => store.adopt(lease, "2"),
  reopen: (store, run) => store.reopen(run, entry(4), "b", 1_000),
  finish: (store, _, lease) => store.finish(lease, { status: "completed", exit: "" }),
  renew: (store, _, lease) => store.renew([lease], 1_000),
  release: (store, run) => store.release("a", run.id),
  suspend: (store, _, lease) => store.suspend(lease, { dueAt: 0, signals: 0 }),
  signal: (store, run) => store.signal(run.id, "k", "1"),
  removeRuns: (store, run) => store.removeRuns([run.key]),
  save: (store) => store.save(snapshot, {}),
  saveAll: (store) => store.saveAll([{ snapshot }]),
  remove: (store) => store.remove([1]),
  lock: (store) => store.lock("l", "a", 1_000),
  renewLock: (store) => store.renewLock({ name: "l", token: 1, owner: "a" }, 1_000),
  unlock: (store) => store.unlock("l", "a"),
  removeLocks: (store) => store.removeLocks(0),
  write: (store) => store.write(record, []),
  removeRecords: (store) => store.removeRecords([1]),
  count: (store) => store.count([{ name: "c", add: 1 }]),
  restore: (store) => store.restore([{ _tag: "Counter", counter: { name: "restored", value: 1 } }])
}

/** One call of each operation that only reads. */
const reads: Readonly<Record<string, Operation>> = {
  signals: (store, run) => store.signals(run.key),
  backlog: (store) => store.backlog,
  controls: (store, _, lease) => store.controls([lease]),
  queues: (store) => store.queues,
  check: (store) => store.check,
  find: (store, run) => store.find(run.id),
  journal: (store, run) => store.journal(run.key),
  payload: (store, run) => store.payload(run.key, 1),
  list: (store) => store.list({}),
  countRuns: (store) => store.countRuns,
  snapshots: (store) => store.snapshots({}),
  fullSnapshots: (store) => store.fullSnapshots({}),
  newest: (store) => store.newest({}),
  snapshot: (store) => store.snapshot(1),
  findLock: (store) => store.findLock("l"),
  locks: (store) => store.locks,
  findRecord: (store) => store.findRecord("k", "1"),
  records: (store) => store.records({ kind: "k" }),
  counters: (store) => store.counters("c"),
  usage: (store) => store.usage,
  now: (store) => store.now
}

/** Opens a run, and leaves another one due: a claim that finds none writes nothing. */
const openBesideDue = (store: Storage.Store) =>
  Effect.gen(function* () {
    yield* store.open({ ...request, id: "due" }, "c", 1_000)
    yield* store.release("c")
    const opened = yield* store.open(request, "a", 100_000)
    assert(opened._tag === "Created")
    return opened
  })

describe("a store on a file that another process writes to", () => {
  it.scopedLive("waits with each write, then fails with Busy and changes nothing; each read answers", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const store = yield* SqliteStorage.store({ filename, busyTimeout: "30 millis" })
      const operations = Object.keys(store).filter((name) => name !== "changes")
      assert.deepStrictEqual(operations.sort(), Object.keys({ ...reads, ...writes }).sort())
      const { lease, run } = yield* openBesideDue(store)
      const before = yield* store.usage
      const other = connect(filename)
      other.exec("BEGIN IMMEDIATE")
      for (const [name, read] of Object.entries(reads)) {
        assert.isTrue(Either.isRight(yield* Effect.either(read(store, run, lease))), name)
      }
      for (const [name, write] of Object.entries(writes)) {
        const answer = yield* Effect.either(write(store, run, lease))
        const error = Either.isLeft(answer) ? answer.left : undefined
        assert.strictEqual(error instanceof Storage.StorageError ? error.reason : error, "Busy", name)
      }
      other.exec("ROLLBACK")
      other.close()
      assert.deepStrictEqual(yield* store.usage, before)
      assert.deepStrictEqual(yield* store.counters("c"), [])
    })
  )

  it.scopedLive("makes each write once the file is free", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const store = yield* SqliteStorage.store({ filename })
      const opened = yield* openBesideDue(store)
      const other = connect(filename)
      for (const [name, write] of Object.entries(writes)) {
        other.exec("BEGIN IMMEDIATE")
        const fiber: Fiber.RuntimeFiber<Answer> = yield* Effect.fork(
          Effect.either(write(store, opened.run, opened.lease))
        )
        yield* turns(3)
        assert.isNull(fiber.unsafePoll(), name)
        other.exec("COMMIT")
        const answer: Answer = yield* Fiber.join(fiber)
        assert.notInstanceOf(Either.isLeft(answer) ? answer.left : undefined, Storage.StorageError, name)
      }
      other.close()
      assert.deepStrictEqual(yield* store.counters("c"), [{ name: "c", value: 1 }])
    })
  )
})
