import * as childProcess from "node:child_process"
import { once } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import { Storage } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { processOf, thisProcess } from "../../src/host/owner.js"
import { makeSqliteStore } from "../../src/storage/sqlite/SqliteStore.js"
import { connect } from "../support/drivers.js"
import { temporaryFile } from "../support/files.js"
import { answers, lease, request, suspended } from "../support/runs.js"
import { backends } from "../support/storages.js"
import { turns } from "../support/time.js"

const workflows = [
  { workflow: "w", version: "1" },
  { workflow: "w", version: "2" },
  { workflow: "v", version: "1" }
]

/** A store on a file, with the judgement about dead processes. */
const onFile = (filename: string, isGone: (owner: string) => boolean) =>
  Effect.gen(function* () {
    yield* SqliteStorage.store({ filename })
    const { database, sql, writer } = yield* Effect.provide(
      SqliteClient.SqliteClient,
      yield* Layer.build(SqliteClient.layer({ filename }))
    )
    return makeSqliteStore({ client: sql, database, writer, isGone })
  })

for (const { make, name } of backends) {
  describe(`Storage.claimDue on ${name}`, () => {
    it.scoped("leases the runs that were due longest, of all workflows together, each to one caller", () =>
      Effect.gen(function* () {
        const { join, store } = yield* make
        yield* suspended(store, request("third", { version: "2" }), 3_000)
        yield* suspended(store, request("first", { workflow: "v" }), 1_000)
        yield* suspended(store, request("second"), 2_000)
        yield* suspended(store, request("another", { workflow: "u" }), 0)
        yield* suspended(store, request("later"), 9_000)
        yield* TestClock.adjust("5 seconds")
        const claim = (limit: number, except?: ReadonlyArray<string>) =>
          Effect.provide(
            Effect.flatMap(Storage.Storage, (storage) =>
              Effect.uninterruptibleMask((restore) => storage.claimDue({ workflows, limit, except }, restore))
            ),
            join()
          )
        assert.deepStrictEqual(yield* claim(0), [])
        assert.deepStrictEqual(answers(yield* claim(1, ["first", "no such run"])), ["Claimed second"])
        const found = yield* claim(10)
        assert.deepStrictEqual(answers(found), ["Claimed first", "Claimed third"])
        assert.deepStrictEqual(yield* claim(10), [])
        // One call, one owner, and a lease for each run.
        const leases = found.flatMap((one) => (one._tag === "Claimed" ? [one.lease] : []))
        assert.strictEqual(new Set(leases.map(({ owner }) => owner)).size, 1)
        assert.deepStrictEqual(yield* store.renew(leases, 30_000), [])
        yield* store.release(leases[0]?.owner ?? "", "third")
        assert.deepStrictEqual(answers(yield* claim(10)), ["Claimed third"])
        yield* store.release(leases[0]?.owner ?? "")
        assert.deepStrictEqual(answers(yield* claim(10)), ["Claimed first"])
      })
    )

    it.scoped("releases all that it claimed if it is interrupted", () =>
      Effect.gen(function* () {
        const { store } = yield* make
        yield* suspended(store, request("a"), 0)
        yield* suspended(store, request("b"), 0)
        const silent: Storage.Store = {
          ...store,
          claimDue: (...args) => Effect.zipRight(store.claimDue(...args), Effect.never)
        }
        const storage = yield* Storage.make(silent, { owner: "silent" })
        const heard: Array<string> = []
        storage.onChange(({ run }) => heard.push(run))
        const claim = Effect.uninterruptibleMask((restore) => storage.claimDue({ workflows, limit: 10 }, restore))
        const fiber = yield* Effect.fork(claim)
        yield* turns(10)
        assert.deepStrictEqual(yield* store.claimDue({ workflows, limit: 10 }, "other", 1_000), [])
        yield* Fiber.interrupt(fiber)
        yield* turns(10)
        // Which runs were claimed is not known, so workers look at all.
        assert.include(heard, "")
        assert.deepStrictEqual(answers(yield* store.claimDue({ workflows, limit: 10 }, "other", 1_000)), [
          "Claimed a",
          "Claimed b"
        ])
      })
    )

    it.scoped("answers a run that cannot be decoded as damaged, and leaves it without a lease", () =>
      Effect.gen(function* () {
        const { store } = yield* make
        yield* suspended(store, request("secret", { input: "other key" }), 0)
        yield* suspended(store, request("open", { input: "mine" }), 0)
        const payloads: Storage.Payloads = {
          encode: (bytes) => bytes,
          decode: (bytes) => {
            if (new TextDecoder().decode(bytes) === "other key") throw new Error("another key")
            return bytes
          }
        }
        const raw = new Map<string, Storage.Run>()
        for (const id of ["secret", "open"]) {
          const run = (yield* store.find(id)).pipe((found) => (found._tag === "Some" ? found.value : assert.fail()))
          raw.set(id, run)
        }
        const encoded: Storage.Store = {
          ...store,
          // As a store of encoded rows answers.
          claimDue: (...args) =>
            Effect.map(store.claimDue(...args), (found) =>
              found.map((one) => ({ ...one, run: { ...one.run, input: `~${btoa(one.run.input)}` } }))
            )
        }
        const storage = yield* Storage.make(encoded, { owner: "reader", payloads })
        const found = yield* Effect.uninterruptibleMask((restore) =>
          storage.claimDue({ workflows, limit: 10 }, restore)
        )
        assert.deepStrictEqual(answers(found), ["Damaged secret", "Claimed open"])
        assert.match(found[0]?.run.damaged ?? "", /Decoding the input of run "secret"/)
        assert.strictEqual(found[0]?.run.owner, undefined)
        assert.deepStrictEqual(answers(yield* store.claimDue({ workflows, limit: 10 }, "other", 1_000)), [
          "Claimed secret"
        ])
      })
    )
  })
}

describe("Storage.claimDue on a SQLite file", () => {
  it.scopedLive("takes the runs of dead processes, whose leases would last, and those of no other", () =>
    Effect.gen(function* () {
      const store = yield* SqliteStorage.store({ filename: yield* temporaryFile("runs.db") })
      const child = childProcess.spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"])
      yield* Effect.promise(() => once(child, "spawn"))
      const dead = processOf(child.pid ?? 0)
      child.kill("SIGKILL")
      yield* Effect.promise(() => once(child, "exit"))
      for (const [i, id] of ["a", "b"].entries()) yield* lease(store, request(id), `${dead}/x/${i}`, 1e9)
      yield* lease(store, request("mine"), `${thisProcess()}/x/1`, 1e9)
      yield* lease(store, request("foreign"), "another-host/1@1/x/1", 1e9)
      const found = yield* store.claimDue({ workflows, limit: 10 }, "me", 1_000)
      assert.deepStrictEqual(answers(found), ["Claimed a", "Claimed b"])
    })
  )

  it.scopedLive("looks once at each process, however many runs it has", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const store = yield* onFile(yield* temporaryFile("runs.db"), (owner) => {
        asked.push(owner)
        return owner.startsWith("host/dead")
      })
      const open = (i: number) => store.open(request(`${i}`), `host/${i % 2 === 0 ? "dead" : "alive"}@1/x/${i}`, 1e9)
      yield* Effect.forEach(
        Array.from({ length: 300 }, (_, i) => i),
        open,
        { concurrency: 100 }
      )
      asked.length = 0
      assert.lengthOf(yield* store.claimDue({ workflows, limit: 1_000 }, "host/me@1/x/1", 1e9), 150)
      assert.isAtMost(asked.filter((owner) => !owner.includes("/me@")).length, 2)
    })
  )

  it.scopedLive("writes nothing if no run is due: another process may be writing", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const store = yield* SqliteStorage.store({ filename, busyTimeout: "10 millis" })
      yield* suspended(store, request("later"), Storage.untilSignalled)
      const other = connect(filename)
      other.exec("BEGIN IMMEDIATE")
      assert.deepStrictEqual(yield* store.claimDue({ workflows, limit: 10 }, "me", 1_000), [])
      other.close()
    })
  )

  it.scopedLive("answers a damaged run as damaged, leaves it as it is, and claims the others", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const store = yield* SqliteStorage.store({ filename })
      yield* suspended(store, request("damaged"), 0)
      yield* suspended(store, request("whole"), 0)
      const other = connect(filename)
      other.exec("UPDATE recovery_runs SET input = 'x' WHERE id = 'damaged'")
      const row = () => other.prepare("SELECT * FROM recovery_runs WHERE id = 'damaged'").get()
      const before = row()
      const found = yield* store.claimDue({ workflows, limit: 10 }, "me", 1_000)
      assert.deepStrictEqual(answers(found), ["Damaged damaged", "Claimed whole"])
      assert.match(found[0]?.run.damaged ?? "", /checksum/)
      assert.deepStrictEqual(row(), before)
      assert.deepStrictEqual(yield* store.claimDue({ workflows, limit: 10, except: ["damaged"] }, "me", 1_000), [])
      other.close()
    })
  )
})
