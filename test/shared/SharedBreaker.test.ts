import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, Fault, SharedBreaker, Step, Storage, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { ahead, onClock } from "../support/clocks.js"
import { temporaryFile } from "../support/files.js"
import { backends, memory, type Place } from "../support/storages.js"
import { eventually, turns } from "../support/time.js"

class Down extends Data.TaggedError("Down")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "unavailable" })
}

const up = Effect.succeed("ok")
const down = new Down()

const options: SharedBreaker.Options = {
  name: "rates",
  trip: CircuitBreaker.consecutive({ failures: 2 }),
  resetAfter: "30 seconds"
}

/** The breaker as another process on this place has it. */
const joined = (place: Place, given: Partial<SharedBreaker.Options> = {}) =>
  Effect.flatMap(Layer.build(place.join()), (context) =>
    Effect.provide(SharedBreaker.make({ ...options, ...given }), context)
  )

/** One call and what the process learns by it. */
const call = (breaker: CircuitBreaker.CircuitBreaker, work: Effect.Effect<string, Down>) =>
  Effect.zipLeft(Effect.exit(CircuitBreaker.protect(work, breaker)), turns(20))

const isRefused = (exit: Exit.Exit<string, Down | CircuitBreaker.CircuitOpen>): boolean =>
  Exit.isFailure(exit) && exit.cause._tag === "Fail" && exit.cause.error._tag === "CircuitOpen"

const stateOf = (breaker: CircuitBreaker.CircuitBreaker) => Effect.map(breaker.snapshot, ({ state }) => state)

const trip = (breaker: CircuitBreaker.CircuitBreaker) => Effect.replicateEffect(call(breaker, down), 2)

/** Longer than an interval, and than the time that others have to object. */
const look = Effect.zipRight(TestClock.adjust("1 second"), turns(20))
const grace = Effect.zipRight(TestClock.adjust("3 seconds"), turns(20))

/** Calls of each process, second by second, as long as the others could object. */
const seconds = (count: number, ...calls: ReadonlyArray<Effect.Effect<unknown>>) =>
  Effect.repeatN(Effect.zipRight(look, Effect.all(calls)), count - 1)

for (const backend of backends) {
  describe(`${backend.name}: a shared breaker`, () => {
    it.scoped("spares the others the system that one process found down", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const [a, b] = yield* Effect.all([joined(place), joined(place)])
        yield* trip(a)
        assert.strictEqual(yield* stateOf(a), "open")
        // The others do not hear of it before it is settled, and none has objected.
        yield* grace
        yield* call(a, up)
        yield* call(b, down)
        assert.isTrue(isRefused(yield* call(b, up)))
        assert.strictEqual(yield* stateOf(b), "open")
      })
    )

    it.scoped("does not open for all while other processes reach the system", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const [sick, b, c] = yield* Effect.all([joined(place), joined(place), joined(place)])
        yield* trip(sick)
        yield* seconds(40, call(b, up), call(c, up), call(sick, down))
        assert.strictEqual(yield* stateOf(b), "closed")
        assert.strictEqual(yield* stateOf(c), "closed")
        assert.include(["open", "half-open"], yield* stateOf(sick))
      })
    )

    it.scoped("admits its probes over all processes, and closes everywhere", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const shared = { probes: 2 }
        const all = yield* Effect.replicateEffect(joined(place, shared), 4)
        const [a] = all
        assert.isDefined(a)
        yield* trip(a)
        yield* grace
        yield* Effect.forEach(all, (breaker) => call(breaker, down))
        yield* Effect.forEach(all, (breaker) =>
          Effect.map(stateOf(breaker), (state) => assert.strictEqual(state, "open"))
        )
        yield* TestClock.adjust("40 seconds")
        const gate = yield* Deferred.make<void>()
        let running = 0
        let most = 0
        const probe = Effect.suspend(() => {
          most = Math.max(most, ++running)
          return Effect.as(Deferred.await(gate), "ok")
        })
        const calls = yield* Effect.forEach(all, (breaker) =>
          Effect.forEach([1, 2, 3], () => Effect.fork(Effect.exit(CircuitBreaker.protect(probe, breaker))))
        )
        yield* turns(20)
        yield* Deferred.succeed(gate, undefined)
        const exits = yield* Effect.forEach(calls.flat(), Fiber.join)
        assert.strictEqual(most, 2)
        assert.strictEqual(exits.filter(Exit.isSuccess).length, 2)
        yield* turns(20)
        yield* seconds(2, ...all.map((breaker) => call(breaker, up)))
        yield* Effect.forEach(all, (breaker) =>
          Effect.map(stateOf(breaker), (state) => assert.strictEqual(state, "closed"))
        )
      })
    )

    it.scoped("stays open for all when a probe fails, and lets another process probe next", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const [a, b] = yield* Effect.all([joined(place), joined(place)])
        yield* trip(a)
        yield* grace
        yield* call(b, down)
        yield* TestClock.adjust("30 seconds")
        yield* call(a, down)
        assert.isTrue(isRefused(yield* call(b, up)))
        yield* TestClock.adjust("30 seconds")
        assert.isTrue(isRefused(yield* call(a, up)))
        assert.isTrue(Exit.isSuccess(yield* call(b, up)))
        yield* seconds(2, call(a, up))
        assert.strictEqual(yield* stateOf(a), "closed")
      })
    )

    it.scoped("is isolated and reset in all processes", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const [a, b] = yield* Effect.all([joined(place), joined(place)])
        yield* a.isolate
        yield* call(b, up)
        assert.strictEqual(yield* stateOf(b), "isolated")
        yield* b.reset
        yield* seconds(1, call(a, up))
        assert.strictEqual(yield* stateOf(a), "closed")
        assert.isTrue(Exit.isSuccess(yield* call(a, up)))
      })
    )
  })
}

describe("a shared breaker in one process", () => {
  /** A store that fails or hangs on demand, and counts its operations. */
  const watched = (store: Storage.Store) => {
    const trouble = { mode: "none" as "none" | "fails" | "hangs", operations: 0 }
    const failed = new Storage.StorageError({ reason: "Unavailable", operation: "records", cause: new Error("down") })
    const around = <A>(self: Effect.Effect<A, Storage.StorageError>): Effect.Effect<A, Storage.StorageError> =>
      Effect.suspend(() => {
        trouble.operations++
        return trouble.mode === "fails" ? Effect.fail(failed) : trouble.mode === "hangs" ? Effect.never : self
      })
    const watchedStore: Storage.Store = {
      ...store,
      now: around(store.now),
      findRecord: (kind, id) => around(store.findRecord(kind, id)),
      records: (query) => around(store.records(query)),
      write: (record, counts) => around(store.write(record, counts))
    }
    return { trouble, store: watchedStore }
  }

  let owners = 0
  const on = (store: Storage.Store, given: Partial<SharedBreaker.Options> = {}) =>
    Effect.flatMap(Storage.make(store, { owner: `watched-${++owners}` }), (service) =>
      Effect.provideService(SharedBreaker.make({ ...options, ...given }), Storage.Storage, service)
    )

  it.scoped("counts for itself while the storage fails, and shares again after it", () =>
    Effect.gen(function* () {
      const { store, trouble } = watched(Storage.memoryStore())
      const [a, b] = yield* Effect.all([on(store), on(store)])
      trouble.mode = "fails"
      yield* trip(a)
      yield* grace
      assert.strictEqual(yield* stateOf(a), "open")
      assert.isTrue(Exit.isSuccess(yield* call(b, up)))
      yield* TestClock.adjust("30 seconds")
      // Without the others, it probes as a breaker of its own.
      yield* call(a, down)
      assert.strictEqual(yield* stateOf(a), "open")
      trouble.mode = "none"
      yield* seconds(5, call(a, down))
      yield* call(b, down)
      assert.isTrue(isRefused(yield* call(b, up)))
    })
  )

  it.scoped("waits for a storage that hangs no longer than its time, and only with a probe", () =>
    Effect.gen(function* () {
      const { store, trouble } = watched(Storage.memoryStore())
      const a = yield* on(store, { storageTimeout: "2 seconds" })
      trouble.mode = "hangs"
      // None of these calls waits: the clock stands still.
      assert.isTrue(Exit.isSuccess(yield* call(a, up)))
      yield* trip(a)
      assert.isTrue(isRefused(yield* call(a, up)))
      yield* TestClock.adjust("30 seconds")
      const probe = yield* Effect.fork(call(a, up))
      yield* turns(20)
      assert.isNull(probe.unsafePoll())
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(probe)))
      assert.strictEqual(yield* stateOf(a), "closed")
    })
  )

  it.scoped("asks the storage at most once an interval, and never without calls", () =>
    Effect.gen(function* () {
      const { store, trouble } = watched(Storage.memoryStore())
      const a = yield* on(store)
      yield* call(a, up)
      const first = trouble.operations
      yield* Effect.replicateEffect(call(a, up), 20)
      assert.strictEqual(trouble.operations, first)
      yield* TestClock.adjust("1 hour")
      yield* turns(20)
      assert.strictEqual(trouble.operations, first)
      assert.strictEqual(Chunk.size(yield* TestClock.sleeps()), 0)
      yield* call(a, up)
      assert.isAbove(trouble.operations, first)
    })
  )

  it.scoped("goes by the clock of the storage where the clocks of processes differ", () =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const store = onClock(Storage.memoryStore(), clock)
      const a = yield* on(store)
      const b = yield* Effect.withClock(on(store), ahead(clock, 3_600_000))
      yield* trip(a)
      yield* grace
      yield* call(a, down)
      yield* call(b, down)
      assert.isTrue(isRefused(yield* call(b, up)))
      yield* TestClock.adjust("20 seconds")
      assert.isTrue(isRefused(yield* call(b, up)))
      yield* TestClock.adjust("20 seconds")
      assert.isTrue(Exit.isSuccess(yield* call(b, up)))
      yield* seconds(1, call(a, up))
      assert.strictEqual(yield* stateOf(a), "closed")
    })
  )

  it.effect("frees the probe of a process that died", () =>
    Effect.gen(function* () {
      const place = yield* memory.make
      const scope = yield* Scope.make()
      const dying = yield* Scope.extend(joined(place), scope)
      const b = yield* joined(place)
      yield* trip(dying)
      yield* grace
      yield* call(dying, down)
      yield* call(b, down)
      yield* TestClock.adjust("30 seconds")
      yield* Effect.fork(CircuitBreaker.protect(Effect.never, dying))
      yield* turns(20)
      // It says nothing more, and its probe does not end.
      yield* Scope.close(scope, Exit.void)
      yield* seconds(30, call(b, up))
      assert.strictEqual(yield* stateOf(b), "half-open")
      yield* seconds(40, call(b, up))
      assert.strictEqual(yield* stateOf(b), "closed")
    }).pipe(Effect.scoped)
  )

  it.scoped("has one breaker for each key, and one look for all of them", () =>
    Effect.gen(function* () {
      const { store, trouble } = watched(Storage.memoryStore())
      const group = (given: Storage.Store) =>
        Effect.flatMap(Storage.make(given, { owner: `group-${++owners}` }), (service) =>
          Effect.provideService(SharedBreaker.keyed({ ...options, name: "hosts" }), Storage.Storage, service)
        )
      const [a, b] = yield* Effect.all([group(store), group(store)])
      const to = (hosts: CircuitBreaker.Keyed, key: string, work: Effect.Effect<string, Down>) =>
        Effect.zipLeft(Effect.exit(CircuitBreaker.protectKey(work, hosts, key)), turns(20))
      yield* Effect.replicateEffect(to(a, "evil\0\ud800host", down), 2)
      yield* grace
      yield* to(a, "good", up)
      const before = trouble.operations
      yield* Effect.forEach(Array.from({ length: 100 }), (_, i) => to(b, `host-${i}`, up))
      assert.isAtMost(trouble.operations - before, 3)
      yield* look
      yield* to(b, "evil\0\ud800host", down)
      assert.isTrue(isRefused(yield* to(b, "evil\0\ud800host", up)))
      assert.isTrue(Exit.isSuccess(yield* to(b, "good", up)))
    })
  )

  it.effect("refuses options that make no sense", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      for (const wrong of [{ share: 1 }, { share: -0.1 }, { processes: 0 }, { interval: 0 }, { probeTimeout: 0 }]) {
        const exit = yield* Effect.exit(Effect.scoped(on(store, wrong)))
        assert.isTrue(Exit.isFailure(exit) && exit.cause._tag === "Die", JSON.stringify(wrong))
      }
    })
  )
})

describe("a shared breaker inside of Step.transactional", () => {
  it.live("probes without the others, since the storage is busy with the step's transaction", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("rows.db")
      const database = SqliteStorage.layerClient().pipe(Layer.provideMerge(SqliteClient.layer({ filename })))
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const storage = yield* Storage.Storage
        yield* sql`CREATE TABLE rates (rate TEXT)`
        const breaker = yield* SharedBreaker.make({
          name: "rates",
          trip: CircuitBreaker.consecutive({ failures: 1 }),
          resetAfter: 0,
          storageTimeout: "50 millis"
        })
        yield* Effect.exit(CircuitBreaker.protect(Effect.fail(down), breaker))
        yield* eventually(storage.records({ kind: "breaker", status: "alert" }), (rows) => rows.length === 1)
        const insert = Step.transactional("insert", {
          run: () =>
            Effect.gen(function* () {
              yield* Effect.orDie(sql`INSERT INTO rates VALUES ('1.08')`)
              yield* Effect.orDie(CircuitBreaker.protect(up, breaker))
            })
        })
        yield* Workflow.execute(
          Workflow.make("insert", {}, () => insert()),
          { id: "one" }
        )
        assert.deepStrictEqual(yield* sql`SELECT rate FROM rates`, [{ rate: "1.08" }])
        assert.strictEqual(yield* stateOf(breaker), "closed")
      }).pipe(Effect.provide(database))
    }).pipe(Effect.scoped)
  )
})
