import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Fault, Lock, Storage } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { assertBetween, assertTagged } from "../support/assertions.js"
import { temporaryFile, temporaryFolder } from "../support/files.js"
import { kinds } from "../support/locks.js"
import { turns } from "../support/time.js"

/** Texts that are plain names, whatever they look like. */
const oddIds = [
  "a/b",
  "a%2Fb",
  "..",
  ".",
  "a:b",
  "a\nb",
  "../../etc/passwd",
  " ",
  "~",
  "a~b",
  "ü🙂",
  "C:\\temp",
  "x".repeat(300),
  `${"x".repeat(299)}y`,
  "🙂".repeat(100),
  '*?"<>|'
]

/** In an unrelated fiber, as in another process. */
const elsewhere = <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatten(Effect.promise(() => Effect.runPromiseExit(self)))

for (const kind of kinds) {
  describe(kind.name, () => {
    /** `join` makes the locks as a further process would see them. */
    const inFolder = <A, E>(
      use: (
        join: (lease?: Duration.DurationInput) => Effect.Effect<Lock.Service, unknown, never>,
        folder: string
      ) => Effect.Effect<A, E>
    ) =>
      Effect.scoped(
        Effect.gen(function* () {
          const folder = yield* temporaryFolder
          const scope = yield* Effect.scope
          const join = (lease?: Duration.DurationInput) =>
            Effect.map(Layer.buildWithScope(kind.join(folder, lease), scope), Context.get(Lock.Lock))
          return yield* use(join, folder)
        })
      )

    it.live("admits one holder at a time, within a process and between processes", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const processes = [yield* join(), yield* join()]
          let inside = 0
          let counter = 0
          const increment = Effect.gen(function* () {
            assert.strictEqual(++inside, 1)
            const seen = counter
            yield* Effect.yieldNow()
            yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
            counter = seen + 1
            inside--
          })
          yield* Effect.forEach(
            Array.from({ length: 40 }),
            (_, i) => (processes[i % 2] as Lock.Service).withLock(increment, Lock.task("T-1")),
            { concurrency: "unbounded", discard: true }
          )
          assert.strictEqual(counter, 40)
        })
      )
    )

    it.live("serves the fibers of a process in FIFO order", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const locks = yield* join()
          const served: Array<number> = []
          const first = yield* Deferred.make<void>()
          const isIn = yield* Deferred.make<void>()
          const holding = yield* Effect.fork(
            locks.withLock(Effect.zipRight(Deferred.succeed(isIn, undefined), Deferred.await(first)), "x")
          )
          yield* Deferred.await(isIn)
          const waiting: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
          for (let i = 0; i < 10; i++) {
            waiting.push(
              yield* Effect.fork(
                locks.withLock(
                  Effect.sync(() => served.push(i)),
                  "x"
                )
              )
            )
            // Each of them resolves its key before it queues.
            yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
          }
          // An interrupted waiter does not delay the others.
          yield* Fiber.interrupt(waiting[3] as Fiber.RuntimeFiber<unknown, unknown>)
          yield* Deferred.succeed(first, undefined)
          yield* Fiber.join(holding)
          yield* Effect.forEach(waiting, Fiber.await)
          assert.deepStrictEqual(served, [0, 1, 2, 4, 5, 6, 7, 8, 9])
        })
      )
    )

    it.live("times out when the timeout says, and names the holder", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const holder = yield* join()
          const other = yield* join()
          const inside = Effect.gen(function* () {
            const error = yield* Effect.flip(
              elsewhere(other.withLock(Effect.void, Lock.task("T-1"), { timeout: "120 millis" }))
            )
            if (error._tag !== "LockTimeout") return assert.fail(String(error))
            assert.strictEqual(error.lock, "task/T-1")
            assert.isAtLeast(Duration.toMillis(error.waited), 120)
            // A metric counts the time spent waiting, by kind.
            const counted = Metric.unsafeSnapshot().find(
              ({ metricKey: { name, tags } }) =>
                name === "effect_recovery_lock_waited_millis" && tags.some(({ value }) => value === "task")
            )?.metricState
            if (counted === undefined || !MetricState.isCounterState(counted)) throw new Error("the counter is missing")
            assert.isAtLeast(Number(counted.count), 120)
            assert.strictEqual(error.status.state, "held")
            assert.isString(error.status.owner)
            assert.deepStrictEqual(
              yield* elsewhere(other.withLockIfAvailable(Effect.succeed(1), Lock.task("T-1"))),
              Option.none()
            )
            assert.deepStrictEqual(
              yield* other.withLockIfAvailable(Effect.succeed(1), Lock.task("T-2")),
              Option.some(1)
            )
            // Another fiber of the holder's process queues with its own timeout.
            const inLine = yield* Effect.flip(
              Effect.forkDaemon(holder.withLock(Effect.void, Lock.task("T-1"), { timeout: 0 })).pipe(
                Effect.flatMap(Fiber.join)
              )
            )
            assert.include(["LockTimeout", "LockError"], inLine._tag)
          })
          yield* holder.withLock(inside, Lock.task("T-1"))
          assert.deepStrictEqual(
            yield* elsewhere(other.withLockIfAvailable(Effect.succeed(1), Lock.task("T-1"))),
            Option.some(1)
          )
        })
      )
    )

    it.live("an interrupted wait for another process leaves no lock behind", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const holder = yield* join()
          const other = yield* join()
          yield* holder.withLock(
            Effect.gen(function* () {
              const waiting = yield* Effect.sync(() =>
                Effect.runFork(other.withLock(Effect.void, "x", { timeout: Duration.infinity }))
              )
              yield* Effect.flip(elsewhere(other.withLock(Effect.void, "x", { timeout: "50 millis" })))
              const exit = yield* Fiber.interrupt(waiting)
              assert.isTrue(Exit.isInterrupted(exit), String(exit))
            }),
            "x"
          )
          assert.deepStrictEqual(yield* other.withLockIfAvailable(Effect.succeed(1), "x"), Option.some(1))
          assert.deepStrictEqual(yield* holder.withLockIfAvailable(Effect.succeed(1), "x"), Option.some(1))
        })
      )
    )

    it.live("refuses re-entrancy, also in a forked fiber, until the lock is released", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const locks = yield* join()
          const again = Effect.flip(locks.withLock(Effect.void, Lock.agent("CC")))
          const errors = yield* locks.withLock(
            Effect.all([
              again,
              Effect.flatMap(Effect.fork(again), Fiber.join),
              Effect.flip(Effect.scoped(locks.acquire(Lock.agent("CC"))))
            ]),
            Lock.agent("CC")
          )
          for (const error of errors) assert.deepInclude(error, { _tag: "LockError", reason: "Reentrant" })
          assert.strictEqual(
            yield* locks.withLock(locks.withLock(Effect.succeed(1), Lock.agent("CA")), Lock.agent("CC")),
            1
          )
          assert.strictEqual(yield* locks.withLock(Effect.succeed(1), Lock.agent("CC")), 1)
          // A fiber that outlives the lock it was forked under may ask for it.
          const gate = yield* Deferred.make<void>()
          const later = yield* locks.withLock(
            Effect.forkDaemon(
              Effect.zipRight(Deferred.await(gate), locks.withLock(Effect.succeed(2), Lock.agent("CC")))
            ),
            Lock.agent("CC")
          )
          yield* Deferred.succeed(gate, undefined)
          assert.strictEqual(yield* Fiber.join(later), 2)
        })
      )
    )

    it.live("tokens rise with each acquisition, in every process", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const processes = [yield* join(), yield* join()]
          const tokens: Array<number> = []
          const note = Effect.map(Lock.Held, ({ token }) => void tokens.push(token))
          for (let i = 0; i < 12; i++) yield* (processes[i % 2] as Lock.Service).withLock(note, Lock.task("T-1"))
          const removed = (processes[0] as Lock.Service).cleanup("1 millis")
          yield* Effect.repeat(removed, { until: (count) => count === 1 })
          for (let i = 0; i < 4; i++) yield* (processes[i % 2] as Lock.Service).withLock(note, Lock.task("T-1"))
          assert.strictEqual(tokens.length, 16)
          for (let i = 1; i < tokens.length; i++) assert.isAbove(tokens[i] ?? 0, tokens[i - 1] ?? 0)
        })
      )
    )

    it.live("accepts any well-formed text as an id, keeps different ids apart, and refuses others", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const locks = yield* join()
          const nested = oddIds.reduce(
            (inner, id) => locks.withLock(inner, Lock.task(id)),
            Effect.map(locks.list, (all) => all.length) as Effect.Effect<number, unknown>
          )
          assert.strictEqual(yield* nested, oddIds.length)
          for (const id of ["", "a\0b", "\ud800", "x".repeat(10_000)]) {
            const refused = yield* Effect.flip(locks.withLock(Effect.void, Lock.task(id)))
            assertTagged(refused, "LockError", { reason: "Name" })
          }
          // One id of different kinds is different locks.
          const apart = locks.withLock(
            locks.withLock(locks.withLock(Effect.void, "x"), Lock.agent("x")),
            Lock.task("x")
          )
          yield* apart
        })
      )
    )

    it.live("reports the status of locks, and removes unused ones", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const locks = yield* join()
          const other = yield* join()
          const states = Effect.map(other.list, (all) => all.map(({ lock, state }) => `${lock} ${state}`).sort())
          assert.deepStrictEqual(yield* states, [])
          assert.deepInclude(yield* other.status(Lock.task("T-1")), { lock: "task/T-1", state: "free", token: 0 })
          yield* locks.withLock(Effect.void, Lock.task("T-2"))
          const before = Date.now()
          yield* locks.withLock(
            Effect.gen(function* () {
              const status = yield* other.status(Lock.task("T-1"))
              assert.deepInclude(status, { lock: "task/T-1", state: "held", token: (yield* Lock.Held).token })
              // File systems have coarser clocks.
              assertBetween(status.since ?? 0, before - 2_000, Date.now() + 2_000)
              assert.deepStrictEqual(yield* states, ["task/T-1 held", "task/T-2 free"])
              assert.strictEqual(yield* other.cleanup("1 minute"), 0)
              // A lock that was released in this millisecond is not old yet.
              yield* Effect.repeat(other.cleanup("1 millis"), { until: (removed) => removed === 1 })
              assert.deepStrictEqual(yield* states, ["task/T-1 held"])
            }),
            Lock.task("T-1")
          )
          assert.deepInclude(yield* other.status(Lock.task("T-1")), { state: "free" })
        })
      )
    )

    it.live("a lost lock interrupts the effect with LockLost", () =>
      inFolder((join, folder) =>
        Effect.gen(function* () {
          const locks = yield* join("2 seconds")
          let interrupted = false
          const protectedWork = Effect.zipRight(kind.steal(folder, Lock.task("T-1")), Effect.never).pipe(
            Effect.onInterrupt(() =>
              Effect.sync(() => {
                interrupted = true
              })
            )
          )
          const error = yield* Effect.flip(locks.withLock(protectedWork, Lock.task("T-1")))
          if (!(error instanceof Lock.LockLost)) return assert.fail(String(error))
          assert.strictEqual(error.lock, "task/T-1")
          assert.isAbove(error.token, 0)
          assert.isTrue(interrupted)
          assert.strictEqual(yield* locks.withLock(Effect.succeed(1), Lock.task("T-1")), 1)
        })
      )
    )

    it.live("a loss detected only at the end fails with LockLost, and check finds it before", () =>
      inFolder((join, folder) =>
        Effect.gen(function* () {
          const locks = yield* join("1 hour")
          const steal = kind.steal(folder, Lock.task("T-1"))
          const late = yield* Effect.flip(locks.withLock(steal, Lock.task("T-1")))
          assert.instanceOf(late, Lock.LockLost)
          const asked = Effect.flatMap(Lock.Held, ({ check }) =>
            Effect.zip(Effect.exit(check), Effect.zipRight(steal, Effect.exit(check)))
          )
          // The effect ignores the failing check, but the loss still fails withLock.
          const noted: Array<boolean> = []
          const exit = yield* Effect.exit(
            locks.withLock(
              Effect.map(asked, (exits) => noted.push(...exits.map(Exit.isSuccess))),
              Lock.task("T-1")
            )
          )
          assert.strictEqual(exit._tag, "Failure")
          // The loss found by the second check may interrupt the effect before it notes the results.
          if (noted.length > 0) assert.deepStrictEqual(noted, [true, false])
        })
      )
    )

    it.live("acquire holds the lock until the scope closes", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const locks = yield* join()
          const other = yield* join()
          yield* Effect.scoped(
            Effect.gen(function* () {
              const held = yield* locks.acquire(Lock.task("T-1"))
              yield* held.check
              assert.deepStrictEqual(
                yield* elsewhere(Effect.scoped(other.acquireIfAvailable(Lock.task("T-1")))),
                Option.none()
              )
            })
          )
          assert.strictEqual((yield* elsewhere(Effect.scoped(other.acquireIfAvailable(Lock.task("T-1")))))._tag, "Some")
          assert.strictEqual((yield* elsewhere(Effect.scoped(other.acquireIfAvailable(Lock.task("T-1")))))._tag, "Some")
        })
      )
    )

    it.live("failures, defects and interruption of the effect pass through and release the lock", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const locks = yield* join()
          assert.strictEqual(yield* Effect.flip(locks.withLock(Effect.fail("no"), "x")), "no")
          assert.deepStrictEqual(yield* Effect.exit(locks.withLock(Effect.die("bug"), "x")), Exit.die("bug"))
          const interrupted = yield* Effect.exit(locks.withLock(Effect.interrupt, "x"))
          assert.isTrue(Exit.isInterrupted(interrupted), String(interrupted))
          const isIn = yield* Deferred.make<void>()
          const fiber = yield* Effect.fork(
            locks.withLock(Effect.zipRight(Deferred.succeed(isIn, undefined), Effect.never), "x")
          )
          yield* Deferred.await(isIn)
          yield* Effect.flip(locks.withLock(Effect.void, "x", { timeout: "30 millis" }))
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(yield* locks.withLock(Effect.succeed(1), "x"), 1)
        })
      )
    )
  })
}

const inMemory = Layer.provide(Lock.layerStorage({ poll: "10 millis" }), Storage.layerMemory)

const build = <E>(layer: Layer.Layer<Lock.Lock, E>) => Effect.map(Layer.build(layer), Context.get(Lock.Lock))

const name = Lock.task("T-1")

describe("Lock, waiting and re-entrancy", () => {
  it.scopedLive("the timeout also ends a wait in an uninterruptible region", () =>
    Effect.gen(function* () {
      const locks = yield* build(inMemory)
      const isIn = yield* Deferred.make<void>()
      const holding = Effect.runFork(
        locks.withLock(Effect.zipRight(Deferred.succeed(isIn, undefined), Effect.never), name)
      )
      yield* Deferred.await(isIn)
      const exit = yield* Effect.exit(
        Effect.uninterruptible(locks.withLock(Effect.void, name, { timeout: "30 millis" }))
      )
      assert.strictEqual(exit._tag, "Failure")
      yield* Fiber.interrupt(holding)
      assert.strictEqual(yield* locks.withLock(Effect.succeed(1), name), 1)
    })
  )

  it.scopedLive("releases a lock that was acquired in an uninterruptible region", () =>
    Effect.gen(function* () {
      const locks = yield* build(inMemory)
      const once = locks.withLock(Effect.succeed(1), name)
      assert.strictEqual(yield* Effect.uninterruptible(once), 1)
      yield* Effect.scoped(Effect.acquireRelease(once, () => Effect.ignore(once)))
      assert.strictEqual((yield* locks.status(name)).state, "free")
    })
  )

  it.scopedLive("joining a fiber adds its locks to those of the joiner", () =>
    Effect.gen(function* () {
      const locks = yield* build(inMemory)
      const gate = yield* Deferred.make<void>()
      const earlier = yield* Effect.fork(Effect.zipRight(Deferred.await(gate), locks.withLock(Effect.void, "other")))
      const error = yield* locks.withLock(
        Effect.gen(function* () {
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(earlier)
          return yield* Effect.flip(locks.withLock(Effect.void, "x", { timeout: "1 second" }))
        }),
        "x"
      )
      assert.deepInclude(error, { _tag: "LockError", reason: "Reentrant" })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Effect.all([locks.acquire("a"), locks.acquire("b")], { concurrency: "unbounded" })
          for (const again of ["a", "b"]) {
            const refused = yield* Effect.flip(locks.withLock(Effect.void, again, { timeout: "1 second" }))
            assert.strictEqual(refused._tag, "LockError")
          }
        })
      )
    })
  )

  it.scopedLive("a slash in a kind or an id does not mix up names", () =>
    Effect.gen(function* () {
      const locks = yield* build(inMemory)
      yield* locks.withLock(locks.withLock(Effect.void, { kind: "a/b", id: "c" }), { kind: "a", id: "b/c" })
    })
  )
})

/** A driver whose operations a test replaces. */
const driver = (grip: Partial<Lock.Grip>, more?: Partial<Lock.Driver>): Lock.Driver => ({
  keyOf: (lock) => Effect.succeed(Lock.format(lock)),
  attempt: () =>
    Effect.succeed({
      _tag: "Acquired",
      grip: { token: 1, renew: Effect.succeed(true), release: Effect.succeed(true), ...grip }
    }),
  status: (lock) => Effect.succeed({ lock, state: "held", token: 1, owner: "a", since: 0 }),
  list: Effect.succeed([]),
  cleanup: () => Effect.succeed(0),
  heartbeat: "20 millis",
  patience: "60 millis",
  poll: "10 millis",
  ...more
})

describe("Lock.make, heartbeats", () => {
  it.effect("a loss is detected after the patience, even if renewal and release hang", () =>
    Effect.gen(function* () {
      const locks = Lock.make(driver({ renew: Effect.never, release: Effect.never }))
      const isIn = yield* Deferred.make<void>()
      const holding = yield* Effect.fork(
        locks.withLock(Effect.zipRight(Deferred.succeed(isIn, undefined), Effect.never), name)
      )
      yield* Deferred.await(isIn)
      yield* TestClock.adjust("60 millis")
      assert.instanceOf(yield* Effect.flip(Fiber.join(holding)), Lock.LockLost)
    })
  )

  it.effect("an attempt without a timeout does not wait, although the clock is set back meanwhile", () =>
    Effect.gen(function* () {
      const status: Lock.LockStatus = { lock: "task/T-1", state: "held", token: 1, owner: "a", since: 0 }
      let now = 10_000
      const setBack = Effect.sync(() => {
        now = 0
      })
      const clock: Clock.Clock = {
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        unsafeCurrentTimeMillis: () => now,
        unsafeCurrentTimeNanos: () => BigInt(now) * 1_000_000n,
        currentTimeMillis: Effect.sync(() => now),
        currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
        sleep: () => Effect.never
      }
      const ends = (locks: Lock.Service) =>
        Effect.gen(function* () {
          now = 10_000
          const attempt = yield* Effect.fork(Effect.either(locks.withLock(Effect.void, name, { timeout: 0 })))
          yield* turns()
          assert.isNotNull(attempt.unsafePoll(), "it waits")
          assert.isTrue(Either.isLeft(yield* Fiber.join(attempt)))
        }).pipe(Effect.withClock(clock))
      // Another process has the lock.
      yield* ends(Lock.make(driver({}, { attempt: () => Effect.as(setBack, { _tag: "Busy", status }) })))
      // A fiber of this process has it.
      const own = Lock.make(driver({}, { keyOf: (lock) => Effect.as(setBack, Lock.format(lock)) }))
      const isIn = yield* Deferred.make<void>()
      yield* Effect.fork(own.withLock(Effect.zipRight(Deferred.succeed(isIn, undefined), Effect.never), name))
      yield* Deferred.await(isIn)
      yield* ends(own)
    })
  )

  it.effect("a failing check is not a loss, and a successful check counts as a heartbeat", () =>
    Effect.gen(function* () {
      const cannot = Effect.fail(new Lock.LockError({ reason: "Io", lock: "task/T-1" }))
      const failing = Lock.make(driver({ renew: cannot }))
      yield* failing.withLock(
        Effect.flatMap(Lock.Held, ({ check }) => Effect.replicateEffect(check, 5)),
        name
      )
      // Heartbeats fail, checks succeed.
      let isCheck = false
      const renew = Effect.suspend(() => (isCheck ? Effect.succeed(true) : cannot))
      const locks = Lock.make(driver({ renew }))
      const checked = Effect.flatMap(Lock.Held, ({ check }) =>
        Effect.suspend(() => {
          isCheck = true
          return Effect.ensuring(
            check,
            Effect.sync(() => {
              isCheck = false
            })
          )
        })
      )
      const everySo = Effect.replicateEffect(Effect.zipRight(checked, Effect.sleep("30 millis")), 20)
      const holding = yield* Effect.fork(locks.withLock(everySo, name))
      yield* Effect.replicateEffect(TestClock.adjust("10 millis"), 60)
      yield* Fiber.join(holding)
    })
  )
})

describe("Lock.layerStorage", () => {
  it.scopedLive("two services over one storage have different owners", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const storage = yield* Layer.build(SqliteStorage.layer({ filename }))
      const both = Layer.provide(Lock.layerStorage(), Layer.succeedContext(storage))
      const [one, other] = [yield* build(Layer.fresh(both)), yield* build(Layer.fresh(both))]
      yield* one.withLock(
        Effect.gen(function* () {
          // An interrupted attempt releases only its own lock.
          for (let turns = 0; turns < 5; turns++) {
            const asking = Effect.runFork(other.withLock(Effect.void, name))
            for (let i = 0; i < turns; i++) yield* Effect.yieldNow()
            yield* Fiber.interrupt(asking)
          }
          yield* (yield* Lock.Held).check
        }),
        name
      )
    })
  )

  it.scopedLive("a check inside a transaction of the storage's client is not a loss", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const client = yield* Layer.build(SqliteClient.layer({ filename }))
      const { sql } = Context.get(client, SqliteClient.SqliteClient)
      const storage = Layer.provide(SqliteStorage.layerClient(), Layer.succeedContext(client))
      const locks = yield* build(Layer.provide(Lock.layerStorage(), storage))
      yield* locks.withLock(
        Effect.flatMap(Lock.Held, ({ check }) =>
          sql.withTransaction(Effect.provideService(check, SqlClient.SqlClient, sql))
        ),
        name
      )
    })
  )
})

describe("LockError", () => {
  it.live("its message names the lock, the path and the next step; its category follows the reason", () =>
    Effect.gen(function* () {
      for (const [reason, category] of [
        ["Permission", "permission"],
        ["Full", "resource"],
        ["Unsupported", "dependency"]
      ] as const) {
        const error = new Lock.LockError({ reason, lock: "task/T-1", path: "/locks/T-1.lock" })
        assert.match(error.message, /task\/T-1.*\/locks\/T-1\.lock.*\. [A-Z].+\.$/)
        assert.strictEqual((yield* Fault.classify(error)).category, category)
      }
    })
  )
})
