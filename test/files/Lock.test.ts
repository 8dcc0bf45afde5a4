import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"
import { Lock } from "effect-recovery"
import { temporaryFolder } from "../support/files.js"
import { kinds } from "../support/locks.js"

const oddIds = [
  "a/b",
  "a%2Fb",
  "..",
  ".",
  "",
  "a:b",
  "a\nb",
  "a\0b",
  "../../etc/passwd",
  " ",
  "~",
  "a~b",
  "ü🙂",
  "\ud800",
  "C:\\temp",
  "x".repeat(300),
  `${"x".repeat(299)}y`,
  "🙂".repeat(100),
  '*?"<>|'
]

/** In a fiber that knows nothing of ours, as one of another process. */
const elsewhere = <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatten(Effect.promise(() => Effect.runPromiseExit(self)))

for (const kind of kinds) {
  describe(kind.name, () => {
    /** What one process, or several of them, would see. */
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

    it.live("lets one in at a time, within a process and between two of them", () =>
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

    it.live("serves the fibers of a process in the order in which they came", () =>
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
            // Each of them has to find out where its lock is before it queues up.
            yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
          }
          // Whoever goes away while it waits costs the others nothing.
          yield* Fiber.interrupt(waiting[3] as Fiber.RuntimeFiber<unknown, unknown>)
          yield* Deferred.succeed(first, undefined)
          yield* Fiber.join(holding)
          yield* Effect.forEach(waiting, Fiber.await)
          assert.deepStrictEqual(served, [0, 1, 2, 4, 5, 6, 7, 8, 9])
        })
      )
    )

    it.live("waits as long as it is told, and says who holds it", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const holder = yield* join()
          const other = yield* join()
          const inside = Effect.gen(function* () {
            const started = performance.now()
            const error = yield* Effect.flip(
              elsewhere(other.withLock(Effect.void, Lock.task("T-1"), { timeout: "120 millis" }))
            )
            const waited = performance.now() - started
            assert.isTrue(error._tag === "LockTimeout")
            if (error._tag !== "LockTimeout") return
            assert.strictEqual(error.lock, "task/T-1")
            assert.isAtLeast(Duration.toMillis(error.waited), 120)
            assert.isBelow(waited, 2_000)
            // And in sum it is known how long locks of a kind are waited for.
            const counted = Metric.unsafeSnapshot().find(
              ({ metricKey: { name, tags } }) =>
                name === "effect_recovery_lock_waited_millis" && tags.some(({ value }) => value === "task")
            )?.metricState
            assert.isTrue(MetricState.isCounterState(counted) && Number(counted.count) >= 120)
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
            // Another fiber of the holder's process waits in line, with its own patience.
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

    it.live("whoever is interrupted while it waits for another process leaves nothing behind", () =>
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
              assert.isTrue(Exit.isInterrupted(exit))
            }),
            "x"
          )
          assert.deepStrictEqual(yield* other.withLockIfAvailable(Effect.succeed(1), "x"), Option.some(1))
          assert.deepStrictEqual(yield* holder.withLockIfAvailable(Effect.succeed(1), "x"), Option.some(1))
        })
      )
    )

    it.live("refuses whoever would wait for itself, also in a fiber it has forked, and no one later", () =>
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
          for (const error of errors)
            assert.isTrue(error._tag === "LockError" && error.reason === "Reentrant", String(error))
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

    it.live("hands out tokens that rise, whoever acquires", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const processes = [yield* join(), yield* join()]
          const tokens: Array<number> = []
          const note = Effect.map(Lock.Held, ({ token }) => void tokens.push(token))
          for (let i = 0; i < 12; i++) yield* (processes[i % 2] as Lock.Service).withLock(note, Lock.task("T-1"))
          yield* Effect.forEach(processes, (locks) => locks.cleanup(-1000))
          for (let i = 0; i < 4; i++) yield* (processes[i % 2] as Lock.Service).withLock(note, Lock.task("T-1"))
          assert.strictEqual(tokens.length, 16)
          for (let i = 1; i < tokens.length; i++) assert.isAbove(tokens[i] ?? 0, tokens[i - 1] ?? 0)
        })
      )
    )

    it.live("takes any text for an id, and keeps different ones apart", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const locks = yield* join()
          const nested = oddIds.reduce(
            (inner, id) => locks.withLock(inner, Lock.task(id)),
            Effect.map(locks.list, (all) => all.length) as Effect.Effect<number, unknown>
          )
          assert.strictEqual(yield* nested, oddIds.length)
          // A task is no agent, and neither is a plain name.
          const apart = locks.withLock(
            locks.withLock(locks.withLock(Effect.void, "x"), Lock.agent("x")),
            Lock.task("x")
          )
          yield* apart
        })
      )
    )

    it.live("tells how locks stand, and removes those nobody uses", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const locks = yield* join()
          const other = yield* join()
          const states = Effect.map(other.list, (all) => all.map(({ lock, state }) => `${lock} ${state}`).sort())
          assert.deepStrictEqual(yield* states, [])
          assert.deepInclude(yield* other.status(Lock.task("T-1")), { lock: "task/T-1", state: "free", token: 0 })
          yield* locks.withLock(Effect.void, Lock.task("T-2"))
          yield* locks.withLock(
            Effect.gen(function* () {
              const status = yield* other.status(Lock.task("T-1"))
              assert.deepInclude(status, { lock: "task/T-1", state: "held", token: (yield* Lock.Held).token })
              assert.isAtMost(Math.abs((status.since ?? 0) - Date.now()), 5_000)
              assert.deepStrictEqual(yield* states, ["task/T-1 held", "task/T-2 free"])
              assert.strictEqual(yield* other.cleanup("1 minute"), 0)
              // One that was given back in this very millisecond is not old yet.
              yield* Effect.repeat(other.cleanup(0), { until: (removed) => removed === 1 })
              assert.deepStrictEqual(yield* states, ["task/T-1 held"])
            }),
            Lock.task("T-1")
          )
          assert.deepInclude(yield* other.status(Lock.task("T-1")), { state: "free" })
        })
      )
    )

    it.live("a lock that is lost interrupts what it protects, and says so", () =>
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
          assert.isTrue(error instanceof Lock.LockLost && error.lock === "task/T-1" && error.token > 0, String(error))
          assert.isTrue(interrupted)
          assert.strictEqual(yield* locks.withLock(Effect.succeed(1), Lock.task("T-1")), 1)
        })
      )
    )

    it.live("a loss that is found only at the end is told too, and can be asked for", () =>
      inFolder((join, folder) =>
        Effect.gen(function* () {
          const locks = yield* join("1 hour")
          const steal = kind.steal(folder, Lock.task("T-1"))
          const late = yield* Effect.flip(locks.withLock(steal, Lock.task("T-1")))
          assert.isTrue(late instanceof Lock.LockLost, String(late))
          const asked = Effect.flatMap(Lock.Held, ({ check }) =>
            Effect.zip(Effect.exit(check), Effect.zipRight(steal, Effect.exit(check)))
          )
          // `check` fails here, which is no failure of the work; the loss is.
          const noted: Array<boolean> = []
          const exit = yield* Effect.exit(
            locks.withLock(
              Effect.map(asked, (exits) => noted.push(...exits.map(Exit.isSuccess))),
              Lock.task("T-1")
            )
          )
          assert.isTrue(Exit.isFailure(exit))
          // The work itself may be cut short by the loss its second check has found.
          assert.isTrue(noted.length === 0 || (noted[0] === true && noted[1] === false))
        })
      )
    )

    it.live("is held by a scope, and given back with it", () =>
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
          assert.isTrue(Option.isSome(yield* elsewhere(Effect.scoped(other.acquireIfAvailable(Lock.task("T-1"))))))
          assert.isTrue(Option.isSome(yield* elsewhere(Effect.scoped(other.acquireIfAvailable(Lock.task("T-1"))))))
        })
      )
    )

    it.live("the failure, the defect and the interruption of the work pass, and the lock is given back", () =>
      inFolder((join) =>
        Effect.gen(function* () {
          const locks = yield* join()
          assert.strictEqual(yield* Effect.flip(locks.withLock(Effect.fail("no"), "x")), "no")
          assert.isTrue(Exit.isFailure(yield* Effect.exit(locks.withLock(Effect.die("bug"), "x"))))
          assert.isTrue(Exit.isInterrupted(yield* Effect.exit(locks.withLock(Effect.interrupt, "x"))))
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

describe("resources", () => {
  for (const kind of kinds.slice(2)) {
    it.scopedLive(`${kind.name}: one file has one lock, however its path is written`, () =>
      Effect.gen(function* () {
        const fs = yield* Effect.promise(() => import("node:fs"))
        const folder = yield* temporaryFolder
        const locks = Context.get(yield* Layer.build(kind.join(folder)), Lock.Lock)
        fs.mkdirSync(path.join(folder, "real"))
        fs.writeFileSync(path.join(folder, "real/data"), "")
        fs.symlinkSync("real", path.join(folder, "alias"))
        fs.symlinkSync("real/data", path.join(folder, "link"))
        const ways = ["real/data", "real/../real/./data", "alias/data", "link"].map((way) =>
          path.join(folder, way).replace("realdata", "real/data")
        )
        const refused = yield* locks.withLock(
          Effect.forEach([...ways, `${folder}/real/../real/data`], (way) =>
            Effect.flip(locks.withLock(Effect.void, Lock.resource(way)))
          ),
          Lock.resource(path.join(folder, "real/data"))
        )
        assert.isTrue(refused.every((error) => error._tag === "LockError" && error.reason === "Reentrant"))
        // What does not exist yet has a lock too, and a file whose name begins with a dot is another one.
        const other = locks.withLock(
          locks.withLock(Effect.void, Lock.resource(`${folder}/alias/new`)),
          Lock.resource(`${folder}/alias/.new`)
        )
        yield* other
        // Nothing is left beside them.
        assert.deepStrictEqual(fs.readdirSync(path.join(folder, "real")), ["data"])
        assert.deepStrictEqual(
          (yield* locks.list).map(({ lock }) => lock),
          ["resource/../real/.new", "resource/../real/data", "resource/../real/new"]
        )
      })
    )
  }
})
