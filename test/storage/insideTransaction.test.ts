import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Storage } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { entry, request } from "../support/runs.js"

/** A storage and its client, neither of them in the environment of the test. */
const captured = Effect.gen(function* () {
  const context = yield* Layer.build(
    Layer.provideMerge(SqliteStorage.layerClient(), SqliteClient.layer({ filename: ":memory:" }))
  )
  const storage = yield* Effect.provide(Storage.Storage, context)
  const { sql } = yield* Effect.provide(SqliteClient.SqliteClient, context)
  return { sql, storage }
})

const list = (storage: Storage.Service) => Effect.flip(Effect.asVoid(storage.list({})))

const assertRefused = (error: Storage.StorageError) => assert.strictEqual(error.reason, "Client", error.message)

describe("a storage inside of a SQL transaction", () => {
  it.scopedLive("refuses each operation at once, also if the environment does not name the client", () =>
    Effect.gen(function* () {
      const { sql, storage } = yield* captured
      const open = (restore: Storage.Restore) => storage.open(request("run"), restore)
      const opened = yield* Effect.uninterruptibleMask(open)
      const lease = "lease" in opened ? opened.lease : assert.fail(opened._tag)
      const operations: ReadonlyArray<Effect.Effect<unknown, Storage.StorageError | Storage.LeaseLost>> = [
        Effect.uninterruptibleMask(open),
        Effect.uninterruptibleMask((restore) => storage.claimDue({ workflows: [], limit: 1 }, restore)),
        storage.append(lease, [entry(1)]),
        storage.suspend(lease, { dueAt: 0, signals: 0 }),
        storage.finish(lease, { status: "completed", exit: "" }),
        storage.signal("run", "go", "1"),
        storage.signals(1),
        storage.find("run"),
        storage.list({}),
        storage.list({ status: "running" }),
        storage.backlog,
        storage.countRuns,
        storage.journal(1),
        storage.usage,
        storage.check,
        storage.lock("l", "a", 1_000),
        storage.renewLock({ name: "l", token: 1, owner: "a" }, 1_000),
        storage.unlock("l", "a"),
        storage.locks,
        storage.findLock("l"),
        storage.removeLocks(0),
        storage.count([{ name: "c", add: 1 }]),
        storage.counters("c"),
        storage.records({ kind: "k" }),
        storage.removeRecords([1]),
        storage.snapshots({}),
        storage.remove([1]),
        storage.removeRuns([1])
      ]
      for (const inside of [
        sql.withTransaction,
        (self: Effect.Effect<void>) => sql.withTransaction(sql.withTransaction(self))
      ]) {
        yield* inside(
          Effect.forEach(
            operations,
            (operation) =>
              Effect.map(Effect.flip(operation), (error) =>
                assertRefused(error instanceof Storage.StorageError ? error : assert.fail(error.message))
              ),
            { discard: true }
          ).pipe(Effect.orDie)
        )
      }
      // Nothing was written, and the lease is as it was.
      yield* storage.append(lease, [entry(1)])
      assert.strictEqual((yield* storage.usage).lines, 1)
    })
  )

  it.scopedLive("serves a fiber that began in the transaction and outlives it", () =>
    Effect.gen(function* () {
      const { sql, storage } = yield* captured
      const goOn = yield* Deferred.make<void>()
      const fiber = yield* sql.withTransaction(
        Effect.gen(function* () {
          // Forked in a savepoint, which ends first.
          const fiber = yield* sql.withTransaction(
            Effect.forkDaemon(Effect.zipRight(Deferred.await(goOn), storage.list({})))
          )
          assertRefused(yield* sql.withTransaction(Effect.succeed(storage)).pipe(Effect.flatMap(list)))
          return fiber
        })
      )
      yield* Deferred.succeed(goOn, undefined)
      assert.deepStrictEqual(yield* Fiber.join(fiber), [])
    })
  )
})
