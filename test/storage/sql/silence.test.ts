import { SqlClient } from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { SqlStorage } from "effect-recovery/sql"
import { inTransaction } from "../../../src/storage/programClient.js"
import { reserveWatched, type Timing } from "../../../src/storage/silence.js"
import { Partition } from "../../support/partitions.js"
import { inPostgres, type ServedDatabase } from "../../support/postgres.js"
import { eventually } from "../../support/time.js"
import { entry, leased, lines, reasonOf } from "./support.js"

const fast: Timing = { look: 50, ask: 200, unreachable: 2_000, unknown: 60_000 }

/** A process whose connections go over a network of its own. */
const process = (
  database: ServedDatabase,
  { maxConnections = 4, timing = fast }: { readonly maxConnections?: number; readonly timing?: Timing } = {}
) =>
  Effect.gen(function* () {
    const network = yield* Effect.acquireRelease(
      Effect.promise(() => Partition.start(database.address)),
      (one) => Effect.promise(() => one.close())
    )
    const client = database.client({ port: network.port, maxConnections, applicationName: "cut" })
    const sql = Context.get(yield* Layer.build(client), SqlClient)
    // The first one who watches a client says how.
    yield* Effect.scoped(reserveWatched(sql, timing))
    const store = yield* Effect.provideService(SqlStorage.store(), SqlClient, sql)
    return { network, sql, store }
  })

/** The statement has reached the server, and its answer is on its way. */
const isDone = (database: ServedDatabase, text: string, params: ReadonlyArray<unknown> = []) =>
  eventually(database.query(text, params), (rows) => rows.length > 0)

const linesOf = `SELECT seq FROM recovery_journal JOIN recovery_runs run ON run.key = recovery_journal.run WHERE run.id = $1`

const blockEventLoop = (millis: number) =>
  Effect.sync(() => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis))

const waitsForLock = `SELECT 1 FROM pg_stat_activity WHERE application_name = 'cut' AND wait_event_type = 'Lock'`

inPostgres("SqlStorage on a network that drops packets", (database) => {
  it.scopedLive("finds out about a write whose answer is lost, on another connection", () =>
    Effect.gen(function* () {
      const { network, store } = yield* process(database)
      const lease = yield* leased(store, "answer")
      network.cut("answers")
      const appended = yield* Effect.fork(store.append(lease, [entry(1)]))
      yield* isDone(database, linesOf, ["answer"])
      network.healHalfOpen()
      yield* Fiber.join(appended)
      expect(yield* lines(store, lease.key)).toEqual([1])
    })
  )

  it.scopedLive("repeats a write that never arrived", () =>
    Effect.gen(function* () {
      const { network, store } = yield* process(database)
      const lease = yield* leased(store, "request")
      network.cut("requests")
      const appended = yield* Effect.fork(store.append(lease, [entry(1)]))
      yield* Effect.yieldNow()
      network.healHalfOpen()
      yield* Fiber.join(appended)
      expect(yield* lines(store, lease.key)).toEqual([1])
    })
  )

  it.scopedLive("works again though every connection of the pool is half-open, and none was closed", () =>
    Effect.gen(function* () {
      const { network, store } = yield* process(database, { maxConnections: 2 })
      const all = ["all-1", "all-2", "all-3", "all-4"]
      const leases = yield* Effect.forEach(all, (id) => leased(store, id))
      yield* Effect.forEach(leases, ({ run }) => store.find(run), { concurrency: 2 })
      network.cut()
      const found = yield* Effect.fork(Effect.forEach(all, store.find, { concurrency: "unbounded" }))
      yield* Effect.yieldNow()
      network.healHalfOpen()
      yield* Fiber.join(found)
      yield* store.append(leases[0] ?? expect.fail("no lease"), [entry(1)])
    })
  )

  it.scopedLive("leaves a statement alone for as long as the server works on it", () =>
    Effect.gen(function* () {
      const { network, sql, store } = yield* process(database)
      const lease = yield* leased(store, "slow")
      const locked = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const hold = sql`SELECT key FROM recovery_runs WHERE id = 'slow' FOR UPDATE`.pipe(
        Effect.zipRight(Deferred.succeed(locked, undefined)),
        Effect.zipRight(Deferred.await(release)),
        sql.withTransaction
      )
      const holder = yield* Effect.fork(hold)
      yield* Deferred.await(locked)
      const appended = yield* Effect.fork(store.append(lease, [entry(1)]))
      yield* isDone(database, waitsForLock)
      const before = network.accepted
      yield* Effect.sleep(fast.unreachable + 4 * fast.ask)
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(appended)
      yield* Fiber.join(holder)
      // One more to ask the server.
      expect(network.accepted - before).toBeLessThanOrEqual(1)
      expect(yield* lines(store, lease.key)).toEqual([1])
    })
  )

  it.scopedLive("finds out whether a transactional step was committed whose answer is lost", () =>
    Effect.gen(function* () {
      const { network, sql, store } = yield* process(database)
      yield* sql.unsafe("CREATE TABLE paid (id TEXT PRIMARY KEY)")
      const lease = yield* leased(store, "commit")
      const body = Effect.gen(function* () {
        yield* Effect.orDie(sql`INSERT INTO paid (id) VALUES ('commit')`)
        return ["done", [entry(1)]] as const
      })
      const step = yield* Effect.fork(
        store.transactional(
          lease,
          Effect.tap(body, () => network.cut("answers"))
        )
      )
      // The answer to the lines goes through, that to the COMMIT does not.
      yield* eventually(
        Effect.sync(() => network.heldBytes),
        (bytes) => bytes > 0
      )
      network.heal()
      network.cut("answers")
      yield* isDone(database, "SELECT id FROM paid")
      network.healHalfOpen()
      expect(yield* Fiber.join(step)).toBe("done")
      expect(yield* lines(store, lease.key)).toEqual([1])
    })
  )

  it.scopedLive("fails the statement of a transactional step, and rolls it back", () =>
    Effect.gen(function* () {
      const { network, sql, store } = yield* process(database)
      yield* sql.unsafe("CREATE TABLE sent (id TEXT PRIMARY KEY)")
      const lease = yield* leased(store, "statement")
      const begun = yield* Deferred.make<void>()
      const body = Effect.gen(function* () {
        yield* sql`INSERT INTO sent (id) VALUES ('statement')`
        network.cut()
        yield* Deferred.succeed(begun, undefined)
        yield* sql`INSERT INTO sent (id) VALUES ('later')`
        return ["done", [entry(1)]] as const
      })
      const step = yield* Effect.fork(reasonOf(store.transactional(lease, body)))
      yield* Deferred.await(begun)
      network.healHalfOpen()
      expect(yield* Fiber.join(step)).toBe("SqlError")
      expect(yield* sql`SELECT id FROM sent`).toEqual([])
      expect(yield* lines(store, lease.key)).toEqual([])
    })
  )

  it.scopedLive("ends a step's transaction in the program's own database", () =>
    Effect.gen(function* () {
      const { network, sql } = yield* process(database)
      const begun = yield* Deferred.make<void>()
      const body = Effect.gen(function* () {
        network.cut()
        yield* Deferred.succeed(begun, undefined)
        return yield* Effect.never
      })
      const step = yield* Effect.fork(
        Effect.uninterruptibleMask((restore) => inTransaction(sql, "Paying", restore(body), restore))
      )
      yield* Deferred.await(begun)
      network.healHalfOpen()
      // The ROLLBACK gets no answer.
      yield* Fiber.interrupt(step)
    })
  )

  it.scopedLive("keeps the connection of a process that stood still: its answer is in the socket", () =>
    Effect.gen(function* () {
      const { sql } = yield* process(database, { timing: { ...fast, unreachable: 400 } })
      const slept = Effect.scoped(
        Effect.flatMap(reserveWatched(sql), (one) => one.execute("SELECT pg_sleep(0.3)", [], undefined))
      )
      const sleeps = yield* Effect.fork(slept)
      yield* isDone(
        database,
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'cut' AND wait_event = 'PgSleep'"
      )
      yield* blockEventLoop(1_500)
      expect(Exit.isSuccess(yield* Fiber.await(sleeps))).toBe(true)
    })
  )
})

describe("a statement without an answer", () => {
  /** A client over a server that says this of its backends, and answers no other statement. */
  const clientOf = (rows: ReadonlyArray<object>) => {
    const destroyed: Array<Error> = []
    let questions = 0
    const connection = (processID: number) => ({
      pg: { processID, connection: { stream: { destroy: (error: Error) => void destroyed.push(error) } } },
      executeUnprepared: (sql: string) =>
        sql.includes("pg_stat_activity")
          ? Effect.sync(() => {
              questions++
              return rows
            })
          : Effect.async<ReadonlyArray<unknown>>(() => {})
    })
    let connections = 0
    const client = { reserve: Effect.sync(() => connection(++connections)) }
    const timing: Timing = { look: 50, ask: 200, unreachable: 500, unknown: 2_000 }
    const wait = Effect.scoped(
      Effect.flatMap(reserveWatched(client, timing), (one) => one.executeUnprepared("SELECT 1"))
    )
    const lostAfter = Effect.gen(function* () {
      const before = performance.now()
      yield* Effect.forkScoped(wait)
      yield* eventually(
        Effect.sync(() => destroyed.length),
        (count) => count > 0
      )
      return performance.now() - before
    })
    return { destroyed, lostAfter, questions: () => questions, wait }
  }
  const mine = { pid: 2, mine: true, state: "active", waitsFor: null }

  it.scopedLive("is given more time where a pooler hides its backend", () =>
    Effect.gen(function* () {
      const { destroyed, lostAfter } = clientOf([{ pid: 2, mine: false, state: "idle", waitsFor: null }])
      expect(yield* lostAfter).toBeGreaterThanOrEqual(2_000)
      expect(destroyed[0]?.message).toMatch(/^Connection terminated: the server gave no answer/)
    })
  )

  it.scopedLive("is given more time where the server shows no states", () =>
    Effect.gen(function* () {
      const { lostAfter } = clientOf([mine, { pid: 1, mine: false, state: null, waitsFor: null }])
      expect(yield* lostAfter).toBeGreaterThanOrEqual(2_000)
    })
  )

  it.scopedLive.each([
    { server: "has nothing to do", rows: [{ pid: 1, mine: false, state: "idle", waitsFor: "Client" }] },
    { server: "waits for the program", rows: [{ pid: 1, mine: false, state: "active", waitsFor: "Client" }] },
    { server: "has no such backend", rows: [] }
  ])("is lost where the server $server", ({ rows }) =>
    Effect.gen(function* () {
      yield* clientOf([mine, ...rows]).lostAfter
    })
  )

  it.scopedLive("is waited for while the server works on it", () =>
    Effect.gen(function* () {
      const { destroyed, questions, wait } = clientOf([
        mine,
        { pid: 1, mine: false, state: "active", waitsFor: "Lock" }
      ])
      yield* Effect.timeoutOption(wait, 1_100)
      expect(destroyed).toEqual([])
      // Each puts the next one off.
      expect(questions()).toBeGreaterThan(0)
      expect(questions()).toBeLessThanOrEqual(5)
    })
  )
})
