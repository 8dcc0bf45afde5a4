import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { causeOf } from "../support/assertions.js"
import { drivers } from "../support/drivers.js"
import { temporaryFile, temporaryFolder } from "../support/files.js"

/**
 * Faults of the stock SQLite client, one test each, that a
 * recovery library cannot live with.
 */
describe.each(drivers)("SqliteClient on $name", ({ name: driver }) => {
  const clientLayer = (options: SqliteClient.Options) => SqliteClient.layer({ ...options, driver })

  const test = (
    title: string,
    body: (sql: SqlClient.SqlClient) => Effect.Effect<void, unknown, Scope.Scope | SqlClient.SqlClient>,
    options?: Partial<SqliteClient.Options>
  ) =>
    it.scopedLive(title, () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile("test.db")
        const layer = clientLayer({ filename, durability: "process-crash", ...options })
        const context = yield* Layer.build(layer)
        const prepared = Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE TABLE t (n INTEGER PRIMARY KEY, parent INTEGER REFERENCES t (n) DEFERRABLE INITIALLY DEFERRED)`
          yield* body(sql)
        })
        yield* Effect.provide(prepared, context)
      })
    )

  const numbers = (sql: SqlClient.SqlClient) =>
    Effect.map(sql<{ n: number }>`SELECT n FROM t ORDER BY n`, (rows) => rows.map(({ n }) => n))

  test("a failed COMMIT is a typed error and leaves the transaction", (sql) =>
    Effect.gen(function* () {
      const orphan = sql.withTransaction(sql`INSERT INTO t VALUES (1, 99)`)
      assert.instanceOf(yield* Effect.flip(orphan), SqlError)
      yield* sql`INSERT INTO t VALUES (2, NULL)`
      yield* sql.withTransaction(sql`INSERT INTO t VALUES (3, NULL)`)
      assert.deepStrictEqual(yield* numbers(sql), [2, 3])
    }))

  test("a statement that causes a rollback keeps its own error", (sql) =>
    Effect.gen(function* () {
      yield* sql`INSERT INTO t VALUES (1, NULL)`
      const twice = sql.withTransaction(
        Effect.zipRight(sql`INSERT INTO t VALUES (2, NULL)`, sql`INSERT OR ROLLBACK INTO t VALUES (1, NULL)`)
      )
      const error = yield* Effect.flip(twice)
      assert.include(String((error as SqlError).cause), "UNIQUE")
      assert.deepStrictEqual(yield* numbers(sql), [1])
    }))

  test("waiting for a transaction can be interrupted", (sql) =>
    Effect.gen(function* () {
      const inside = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(
        sql.withTransaction(Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never))
      )
      yield* Deferred.await(inside)
      const waiting = sql.withTransaction(sql`INSERT INTO t VALUES (1, NULL)`)
      const result = yield* Effect.timeoutOption(waiting, "50 millis")
      assert.strictEqual(result._tag, "None")
      yield* Fiber.interrupt(holder)
      yield* waiting
      assert.deepStrictEqual(yield* numbers(sql), [1])
    }))

  test("fibers in a loop take turns", (sql) =>
    Effect.gen(function* () {
      const counts = [0, 0, 0, 0]
      const enough = yield* Deferred.make<void>()
      const count = (i: number) => {
        const next = (counts[i] ?? 0) + 1
        counts[i] = next
        return next < 500 ? Effect.void : Deferred.succeed(enough, undefined)
      }
      const loop = (i: number) =>
        Effect.forever(
          Effect.zipRight(
            sql.withTransaction(sql`SELECT 1`),
            Effect.suspend(() => count(i))
          )
        )
      const fibers = yield* Effect.forEach([0, 1, 2, 3], (i) => Effect.fork(loop(i)))
      yield* Deferred.await(enough)
      yield* Fiber.interruptAll(fibers)
      assert.isAtLeast(Math.min(...counts), 450)
    }))

  test("interrupted waiters leave the queue", (sql) =>
    Effect.gen(function* () {
      const inside = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(
        sql.withTransaction(Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never))
      )
      yield* Deferred.await(inside)
      const losers = yield* Effect.forEach(Array.from({ length: 500 }), (_, n) =>
        Effect.fork(sql.withTransaction(sql`INSERT INTO t VALUES (${n}, NULL)`))
      )
      yield* Effect.yieldNow()
      yield* Fiber.interruptAll(losers)
      yield* Fiber.interrupt(holder)
      assert.deepStrictEqual(yield* numbers(sql), [])
    }))

  test("an acknowledged insert is never rolled back by another fiber", (sql) =>
    Effect.gen(function* () {
      const acknowledged: Array<number> = []
      const insert = (n: number) =>
        Effect.zipRight(
          sql`INSERT INTO t VALUES (${n}, NULL)`,
          Effect.sync(() => void acknowledged.push(n))
        )
      const rollback = Effect.ignore(sql.withTransaction(Effect.zipRight(Effect.yieldNow(), Effect.fail("no"))))
      const all = Effect.all(
        [
          Effect.forEach(
            Array.from({ length: 500 }, (_, n) => n),
            insert
          ),
          Effect.repeatN(rollback, 300)
        ],
        { concurrency: 2 }
      )
      yield* Effect.withMaxOpsBeforeYield(all, 17)
      assert.strictEqual(acknowledged.length, 500)
      assert.deepStrictEqual(yield* numbers(sql), acknowledged)
    }))

  it.scopedLive("read-then-write transactions of two connections lose no update and never block the event loop", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("test.db")
      const connect = Layer.build(clientLayer({ filename, durability: "process-crash" }))
      const sqls = yield* Effect.forEach([1, 2, 3], () =>
        Effect.flatMap(connect, (context) => Effect.provide(SqlClient.SqlClient, context))
      )
      const [first] = sqls
      if (first === undefined) return assert.fail("no client")
      yield* first`CREATE TABLE counter (n INTEGER NOT NULL)`
      yield* first`INSERT INTO counter VALUES (0)`
      const increment = (sql: SqlClient.SqlClient) =>
        sql.withTransaction(
          Effect.flatMap(sql<{ n: number }>`SELECT n FROM counter`, (rows) =>
            Effect.zipRight(Effect.yieldNow(), sql`UPDATE counter SET n = ${(rows[0]?.n ?? 0) + 1}`)
          )
        )
      yield* Effect.forEach(sqls, (sql) => Effect.repeatN(increment(sql), 49), { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* first`SELECT n FROM counter`, [{ n: 150 }])
    })
  )

  test("safe integers apply to one statement only", (sql) =>
    Effect.gen(function* () {
      yield* sql`INSERT INTO t VALUES (1, NULL)`
      const big = yield* Effect.provideService(numbers(sql), SqlClient.SafeIntegers, true)
      assert.deepStrictEqual(big, [1n] as never)
      assert.deepStrictEqual(yield* numbers(sql), [1])
    }))

  it.scopedLive("a missing folder and a file that is not a database are typed errors", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const missing = yield* Effect.flip(Layer.build(clientLayer({ filename: `${folder}/no/such/folder/test.db` })))
      assert.strictEqual(missing.reason, "CannotOpen")
      const directory = yield* Effect.flip(Layer.build(clientLayer({ filename: folder })))
      assert.strictEqual(directory.reason, "CannotOpen")
    })
  )

  test("a syntax error is a typed error, prepared or not", (sql) =>
    Effect.gen(function* () {
      assert.instanceOf(yield* Effect.flip(sql`SELEC 1`), SqlError)
      assert.instanceOf(yield* Effect.flip(sql`SELEC 1`.unprepared), SqlError)
      assert.instanceOf(yield* Effect.flip(sql`SELEC 1`.values), SqlError)
      assert.instanceOf(yield* Effect.flip(Stream.runCollect(sql`SELEC 1`.stream)), SqlError)
      assert.strictEqual((yield* Stream.runCollect(sql`SELECT 1`.stream)).length, 1)
    }))

  test("nested transactions of concurrent fibers do not roll back each other", (sql) =>
    Effect.gen(function* () {
      const failing = sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO t VALUES (1, NULL)`
          yield* Effect.yieldNow()
          yield* Effect.fail("no")
        })
      )
      const succeeding = sql.withTransaction(
        Effect.gen(function* () {
          yield* Effect.yieldNow()
          yield* sql`INSERT INTO t VALUES (2, NULL)`
          yield* Effect.yieldNow()
        })
      )
      const plain = Effect.zipRight(Effect.yieldNow(), sql`INSERT INTO t VALUES (3, NULL)`)
      yield* sql.withTransaction(Effect.all([Effect.ignore(failing), succeeding, plain], { concurrency: "unbounded" }))
      assert.deepStrictEqual(yield* numbers(sql), [2, 3])
    }))

  test("a fiber that outlives its transaction cannot write to another one", (sql) =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const late = yield* sql.withTransaction(
        Effect.forkDaemon(Effect.zipRight(Deferred.await(go), sql`INSERT INTO t VALUES (1, NULL)`))
      )
      const error = yield* sql.withTransaction(
        Effect.zipRight(Deferred.succeed(go, undefined), Effect.flip(Fiber.join(late)))
      )
      assert.include(error.message, "has ended")
      assert.deepStrictEqual(yield* numbers(sql), [])
    }))

  test("a late nested transaction neither writes to another transaction nor ends it", (sql) =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const late = yield* sql.withTransaction(
        Effect.forkDaemon(Effect.zipRight(Deferred.await(go), sql.withTransaction(sql`INSERT INTO t VALUES (1, NULL)`)))
      )
      yield* sql.withTransaction(
        sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`INSERT INTO t VALUES (2, NULL)`
            yield* Deferred.succeed(go, undefined)
            yield* Effect.exit(Fiber.join(late))
          })
        )
      )
      assert.isTrue(Exit.isFailure(yield* Fiber.await(late)))
      assert.deepStrictEqual(yield* numbers(sql), [2])
    }))

  test("a body that catches an automatic rollback does not continue outside of the transaction", (sql) =>
    Effect.gen(function* () {
      yield* sql`INSERT INTO t VALUES (1, NULL)`
      const body = Effect.gen(function* () {
        yield* sql`INSERT INTO t VALUES (2, NULL)`
        yield* Effect.ignore(sql`INSERT OR ROLLBACK INTO t VALUES (1, NULL)`)
        yield* sql`INSERT INTO t VALUES (3, NULL)`
      })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(sql.withTransaction(body))))
      assert.deepStrictEqual(yield* numbers(sql), [1])
    }))

  test(
    "a nested transaction and a statement that wait for one another end with an error",
    (sql) =>
      Effect.gen(function* () {
        const nested = yield* Deferred.make<void>()
        const program = sql.withTransaction(
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(
              Effect.zipRight(Deferred.await(nested), sql`INSERT INTO t VALUES (1, NULL)`)
            )
            yield* sql.withTransaction(Effect.zipRight(Deferred.succeed(nested, undefined), Fiber.join(fiber)))
          })
        )
        const error = yield* Effect.flip(program)
        assert.include(error.message, "did not end in time")
      }),
    { busyTimeout: "200 millis" }
  )

  test(
    "an abandoned wait leaves the queue, also in an uninterruptible region",
    (sql) =>
      Effect.gen(function* () {
        const nested = yield* Deferred.make<void>()
        const end = yield* Deferred.make<void>()
        const program = sql.withTransaction(
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(
              sql.withTransaction(Effect.zipRight(Deferred.succeed(nested, undefined), Deferred.await(end)))
            )
            yield* Deferred.await(nested)
            const late = yield* Effect.exit(Effect.uninterruptible(sql`INSERT INTO t VALUES (1, NULL)`))
            assert.isTrue(Exit.isFailure(late))
            yield* Deferred.succeed(end, undefined)
            yield* Fiber.join(fiber)
            yield* sql.withTransaction(sql`INSERT INTO t VALUES (2, NULL)`)
            yield* sql`INSERT INTO t VALUES (3, NULL)`
          })
        )
        yield* program
        assert.deepStrictEqual(yield* numbers(sql), [2, 3])
      }),
    { busyTimeout: "100 millis" }
  )

  test("a stream releases the connection before its rows are used", (sql) =>
    Effect.gen(function* () {
      yield* sql`INSERT INTO t VALUES (1, NULL)`
      yield* Stream.runForEach(
        sql<{ n: number }>`SELECT n FROM t`.stream,
        ({ n }) => sql`INSERT INTO t VALUES (${n + 1}, NULL)`
      )
      assert.deepStrictEqual(yield* numbers(sql), [1, 2])
    }))

  it.scopedLive("transactions of two clients on two files do not mix", () =>
    Effect.gen(function* () {
      const connect = Effect.gen(function* () {
        const filename = yield* temporaryFile("test.db")
        const context = yield* Layer.build(clientLayer({ filename, durability: "process-crash" }))
        const sql = yield* Effect.provide(SqlClient.SqlClient, context)
        yield* sql`CREATE TABLE t (n INTEGER PRIMARY KEY)`
        return sql
      })
      const a = yield* connect
      const b = yield* connect
      yield* Effect.exit(
        a.withTransaction(
          Effect.zipRight(
            b.withTransaction(b`INSERT INTO t VALUES (1)`),
            Effect.zipRight(a`INSERT INTO t VALUES (1)`, Effect.fail("no"))
          )
        )
      )
      assert.deepStrictEqual(yield* numbers(a), [])
      assert.deepStrictEqual(yield* numbers(b), [1])
    })
  )

  it.scopedLive("a layer built in an uninterruptible region closes", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("test.db")
      const scope = yield* Scope.make()
      yield* Effect.uninterruptible(
        Effect.gen(function* () {
          const layer = SqliteStorage.layer({ filename, driver, busyTimeout: "60 seconds" })
          const context = yield* Layer.buildWithScope(layer, scope)
          yield* Effect.provide(Workflow.list(), context)
        })
      )
      yield* Scope.close(scope, Exit.void)
    })
  )

  test(
    "a statement that waits for its own transaction fails instead of hanging",
    (sql) =>
      Effect.gen(function* () {
        const runtime = yield* Effect.runtime<never>()
        const outside = sql`INSERT INTO t VALUES (1, NULL)`
        const exit = yield* Effect.exit(
          sql.withTransaction(
            Effect.tryPromise({
              try: () => Runtime.runPromise(runtime)(outside),
              catch: (error) => error
            })
          )
        )
        assert.include(causeOf(exit), "did not end in time")
        assert.deepStrictEqual(yield* numbers(sql), [])
      }),
    { busyTimeout: "200 millis" }
  )

  test("interruption inside a transaction rolls back and frees the connection", (sql) =>
    Effect.gen(function* () {
      const inside = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        sql.withTransaction(
          Effect.zipRight(
            sql`INSERT INTO t VALUES (1, NULL)`,
            Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never)
          )
        )
      )
      yield* Deferred.await(inside)
      yield* Fiber.interrupt(fiber)
      yield* sql`INSERT INTO t VALUES (2, NULL)`
      assert.deepStrictEqual(yield* numbers(sql), [2])
    }))

  test("a scope opened inside a transaction outlives it", (sql) =>
    Effect.gen(function* () {
      let closed = false
      yield* Effect.scoped(
        Effect.gen(function* () {
          const close = Effect.sync(() => {
            closed = true
          })
          yield* sql.withTransaction(Effect.addFinalizer(() => close))
          assert.isFalse(closed)
        })
      )
      assert.isTrue(closed)
    }))

  test("random interruptions of many waiters never lose the connection", (sql) =>
    Effect.gen(function* () {
      for (let round = 0; round < 40; round++) {
        const fibers = yield* Effect.forEach(Array.from({ length: 8 }), (_, i) =>
          Effect.fork(
            i % 2 === 0
              ? sql.withTransaction(Effect.zipRight(Effect.yieldNow(), sql`SELECT 1`))
              : Effect.asVoid(sql`SELECT 1`)
          )
        )
        for (let i = 0; i < round % 7; i++) yield* Effect.yieldNow()
        yield* Fiber.interruptAll(fibers.filter((_, i) => (i + round) % 3 !== 0))
        yield* Fiber.awaitAll(fibers)
      }
      yield* sql.withTransaction(sql`INSERT INTO t VALUES (1, NULL)`)
      assert.deepStrictEqual(yield* numbers(sql), [1])
    }))
})
