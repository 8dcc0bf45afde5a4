import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import type { Storage } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { makeSqliteStore } from "../../src/storage/sqlite/SqliteStore.js"
import { connect } from "../support/drivers.js"
import { inEveryStorage } from "../support/everyStorage.js"
import { temporaryFile } from "../support/files.js"
import { toVersion9 } from "../support/olderFiles.js"
import { request } from "../support/runs.js"

const workflows = [{ workflow: "w", version: "1" }]

const queued = (store: Storage.Store, id: string, key: string, priority = 0) =>
  store.enqueue({ ...request(id), queue: { name: "encode", key, priority } })

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `key-${String(i).padStart(5, "0")}`)

const onFile = Effect.flatMap(temporaryFile("queues.db"), (filename) => SqliteStorage.store({ filename }))

const claim = (store: Storage.Store, owner: string, limits: Partial<Storage.QueueLimits>, limit: number) =>
  Effect.map(store.claimDue({ workflows, queues: [{ name: "encode", ...limits }], limit }, owner, 600_000), (found) =>
    found.map(({ run }) => run)
  )

describe("a queue of more keys than one claim looks at", () => {
  it.scopedLive("serves each key, with few claims of others before it", () =>
    Effect.gen(function* () {
      const store = yield* onFile
      const keys = numbered(1_500)
      yield* Effect.forEach(keys, (key) => queued(store, `${key}/1`, key), { concurrency: 100 })
      yield* Effect.forEach(keys, (key) => queued(store, `${key}/2`, key), { concurrency: 100 })
      const served = new Set<string>()
      let calls = 0
      for (; served.size < keys.length && calls < 40; calls++) {
        for (const run of yield* claim(store, `owner-${calls}`, {}, 100)) served.add(run.queue?.key ?? "")
      }
      assert.strictEqual(served.size, keys.length)
      // Each call claims 100 of 3,000 runs.
      assert.isAtMost(calls, 30)
    })
  )

  it.scopedLive("finds the one key that has a place, wherever it is", () =>
    Effect.gen(function* () {
      const store = yield* onFile
      const keys = numbered(2_500)
      yield* Effect.forEach(keys, (key) => queued(store, `${key}/1`, key), { concurrency: 100 })
      const claimed = new Set<string>()
      while (claimed.size < keys.length) {
        const found = yield* claim(store, "a", { perKey: 1 }, 1_000)
        assert.isAbove(found.length, 0)
        for (const { id } of found) claimed.add(id)
      }
      yield* Effect.forEach(keys, (key) => queued(store, `${key}/2`, key, 1), { concurrency: 100 })
      yield* queued(store, "low", "another", -1)
      assert.deepStrictEqual(
        (yield* claim(store, "b", { perKey: 1 }, 10)).map(({ id }) => id),
        ["low"]
      )
      assert.deepStrictEqual(yield* claim(store, "b", { perKey: 1 }, 10), [])
      yield* store.terminate("key-02345/1", { status: "completed", exit: "" })
      assert.deepStrictEqual(
        (yield* claim(store, "b", { perKey: 1 }, 10)).map(({ id }) => id),
        ["key-02345/2"]
      )
    })
  )
})

describe("a worker at a backlog", () => {
  it.scoped("takes the run of a process that dies within a second", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("backlog.db")
      const dead = new Set<string>()
      yield* Effect.scoped(SqliteStorage.store({ filename }))
      const client = yield* Layer.build(SqliteClient.layer({ filename }))
      const { database, sql, writer } = yield* Effect.provide(SqliteClient.SqliteClient, client)
      const store = makeSqliteStore({ client: sql, database, writer, isGone: (owner) => dead.has(owner) })
      yield* queued(store, "orphan", "a")
      yield* claim(store, "dying/1", {}, 1)
      for (let i = 0; i < 50; i++) yield* queued(store, `run-${i}`, "a")
      const next = Effect.map(claim(store, "b", {}, 1), (found) => found.map(({ id }) => id))
      assert.deepStrictEqual(yield* next, ["run-0"])
      dead.add("dying/1").add("dying/")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* next, ["orphan"])
    })
  )
})

inEveryStorage("the rate of a queue", (backend) => {
  it.scoped("does not count starts of a time to come, after the clock was set back", () =>
    Effect.gen(function* () {
      const { store } = yield* backend.make
      const rate = { limit: 1, millis: 1_000, perKey: false }
      yield* TestClock.setTime(7_200_000)
      for (const id of ["one", "two"]) yield* queued(store, id, "a")
      assert.strictEqual((yield* claim(store, "a", { rate }, 9)).length, 1)
      yield* store.release("a")
      yield* TestClock.setTime(3_600_000)
      yield* queued(store, "three", "b")
      assert.deepStrictEqual(
        (yield* claim(store, "b", { rate }, 9)).map(({ id }) => id),
        ["three"]
      )
      yield* queued(store, "four", "b")
      assert.deepStrictEqual(yield* claim(store, "b", { rate }, 9), [])
    })
  )
})

describe("a file of before there were queues", () => {
  it.scopedLive("keeps its runs, which are found by their labels", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("older.db")
      const before = yield* Effect.scoped(
        Effect.gen(function* () {
          const store = yield* SqliteStorage.store({ filename })
          yield* store.open({ ...request("one"), labels: { author: "ada", "a'b": `"` } }, "a", 1_000)
          yield* store.release("a")
          yield* store.open({ ...request("two"), labels: {} }, "b", 1_000)
          return yield* store.list({})
        })
      )
      const other = connect(filename)
      other.exec(toVersion9)
      other.prepare("UPDATE recovery_runs SET labels = '{\"author\"', checksum = NULL WHERE id = 'two'").run()
      const store = yield* SqliteStorage.store({ filename })
      const [two, one] = yield* store.list({})
      assert.deepStrictEqual([one], before.slice(1))
      assert.strictEqual(two?.startedAt, before[0]?.createdAt)
      const labels = { author: "ada", "a'b": `"` }
      assert.deepStrictEqual(yield* store.list({ labels }), before.slice(1))
      assert.deepStrictEqual(
        (yield* store.claimDue({ workflows, limit: 9 }, "c", 1_000)).map(({ run }) => run.id),
        ["one"]
      )
    })
  )
})

describe("the index of the labels of runs", () => {
  it.scopedLive("is compared with the labels by a check", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("labels.db")
      const store = yield* SqliteStorage.store({ filename })
      for (const id of ["one", "two"]) yield* store.enqueue({ ...request(id), labels: { author: "ada" } })
      assert.deepStrictEqual(yield* store.check, [])
      const other = connect(filename)
      other.exec("DELETE FROM recovery_run_labels WHERE run = 1")
      other.exec("INSERT INTO recovery_run_labels VALUES ('author', 'bob', 2), ('author', 'bob', 9)")
      const found = yield* store.check
      assert.deepStrictEqual(
        found.map(({ run, what }) => [what, run]),
        [
          ["labels of the run", "two"],
          ["labels of run 9", undefined],
          ["labels of the run", "one"]
        ]
      )
    })
  )
})
