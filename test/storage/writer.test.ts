import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { sliceMillis } from "../../src/resilience/internal/kernel/eventLoop.js"
import type { Answer, Plain } from "../../src/storage/rows.js"
import type { StorageError } from "../../src/storage/StorageError.js"
import { inMemory } from "../../src/storage/sqlite/databaseFile.js"
import type { Driver } from "../../src/storage/sqlite/driver.js"
import {
  type Alone,
  type CommitDurability,
  jobsMillis,
  makeWriter,
  turnMillis,
  type Writer
} from "../../src/storage/sqlite/writer.js"
import { seedOf } from "../support/campaigns.js"
import { drivers } from "../support/drivers.js"
import { temporaryFile } from "../support/files.js"

interface Bench {
  readonly writer: Writer
  readonly insert: (n: number) => () => Exit.Exit<number>
  readonly numbers: () => ReadonlyArray<number>
  /** The number of transactions. */
  readonly begun: () => number
  /** `PRAGMA synchronous`, or sets it. */
  readonly level: (set?: number) => number
}

/** By a clock that stands still no turn takes long, so what shares a transaction does not depend on the machine. */
const makeBench = (
  driver: Driver,
  busyMillis = 5_000,
  steady: () => number = () => 0
): Effect.Effect<Bench, never, Scope.Scope> =>
  Effect.gen(function* () {
    const filename = yield* temporaryFile("test.db")
    const database = yield* Effect.acquireRelease(
      Effect.sync(() => driver.open({ filename, readonly: false })),
      (database) => Effect.sync(() => database.close())
    )
    database.exec("PRAGMA journal_mode = WAL")
    database.exec("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    let begun = 0
    const counted = new Proxy(database, {
      get: (target, key) => {
        const value = Reflect.get(target, key)
        if (key !== "prepare") return typeof value === "function" ? value.bind(target) : value
        return (sql: string) => {
          const statement = target.prepare(sql)
          if (!sql.startsWith("BEGIN")) return statement
          return {
            run: () => {
              begun++
              return statement.run()
            }
          }
        }
      }
    })
    const writer = yield* makeWriter(counted as never, inMemory, busyMillis, steady)
    const insert = database.prepare("INSERT INTO t VALUES (?)")
    const numbers = database.prepare("SELECT n FROM t ORDER BY n").raw(true)
    return {
      writer,
      insert: (n) => () => {
        insert.run(n)
        return Exit.succeed(n)
      },
      numbers: () => (numbers.all() as ReadonlyArray<ReadonlyArray<number>>).flat(),
      begun: () => begun,
      level: (set) => {
        if (set !== undefined) database.exec(`PRAGMA synchronous = ${set}`)
        return (database.prepare("PRAGMA synchronous").get() as { readonly synchronous: number }).synchronous
      }
    }
  })

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i)

/** Only compiled, never called. */
const wrong = ({ read, write }: Writer, insert: () => number, statement: Effect.Effect<ReadonlyArray<object>>) => [
  // @ts-expect-error an effect would run after the commit
  write("insert", () => Effect.sync(insert)),
  // @ts-expect-error so would an effect inside the answer
  write("insert", () => Exit.succeed(Effect.sync(insert))),
  // @ts-expect-error and a statement of @effect/sql
  write("insert", () => Exit.succeed(statement)),
  // @ts-expect-error and a promise
  write("insert", () => Exit.succeed(Promise.resolve(insert()))),
  // @ts-expect-error a read neither
  read("read", () => Exit.succeed(Effect.sync(insert)))
]

const write = <A extends Plain, E>(
  writer: Writer,
  job: () => Answer<A, E>,
  alone?: Alone,
  durability?: CommitDurability
) =>
  Effect.withFiberRuntime<A, E | StorageError>((_, { runtimeFlags }) =>
    writer.write("insert", job, runtimeFlags, alone, durability)
  )

/** One write of a fiber: how, how long its job takes, and how long what the fiber does with the answer. */
interface Writing {
  readonly how: "together" | "alone" | "single" | "lent"
  readonly job: number
  readonly then: number
}

const writing: FastCheck.Arbitrary<Writing> = FastCheck.record({
  how: FastCheck.constantFrom("together", "alone", "single", "lent"),
  job: FastCheck.integer({ min: 0, max: turnMillis }),
  then: FastCheck.integer({ min: 0, max: 2 * sliceMillis })
})

/** The writes of each fiber. */
const programs = FastCheck.array(FastCheck.array(writing, { maxLength: 6 }), { minLength: 1, maxLength: 12 })

/** A replay gives the results of steps in the order of their commits, so a program must not learn of them in another. */
const endsInOrder = (driver: Driver, program: ReadonlyArray<ReadonlyArray<Writing>>): Promise<void> =>
  Effect.gen(function* () {
    let now = 0
    let next = 0
    const { insert, writer } = yield* makeBench(driver, 5_000, () => now)
    const committed: Array<number> = []
    const ended: Array<number> = []
    const one = ({ how, job, then }: Writing) => {
      const n = next++
      const run = () => {
        now += job
        committed.push(n)
        return insert(n)()
      }
      const lent = Effect.acquireUseRelease(
        writer.acquire,
        () => Effect.suspend(run),
        () => writer.release
      )
      const whole = how === "lent" ? lent : write(writer, run, how === "together" ? undefined : how)
      return Effect.map(whole, () => {
        ended.push(n)
        now += then
      })
    }
    const fiber = (writings: ReadonlyArray<Writing>) =>
      Effect.forEach(writings, (each) => Effect.suspend(() => one(each)))
    yield* Effect.forEach(program, fiber, { concurrency: "unbounded", discard: true })
    assert.deepStrictEqual(ended, committed)
  }).pipe(Effect.scoped, Effect.runPromise)

it("the SQLite writer takes no job whose answer carries a statement", () => assert.isFunction(wrong))

describe.each(drivers)("the SQLite writer on $name", (driver) => {
  it.scopedLive("queued writes share one transaction, and each gets its own result", () =>
    Effect.gen(function* () {
      const { begun, insert, numbers, writer } = yield* makeBench(driver)
      const answers = yield* Effect.forEach(upTo(50), (n) => write(writer, insert(n)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(answers, upTo(50))
      assert.deepStrictEqual(numbers(), upTo(50))
      assert.isAtMost(begun(), 2)
    })
  )

  it.scopedLive("jobs that take long are divided among turns of the event loop, in their order", () =>
    Effect.gen(function* () {
      let now = 0
      let turns = 0
      const { begun, insert, numbers, writer } = yield* makeBench(driver, 5_000, () => now)
      const order: Array<string> = []
      const takes = (millis: number, n: number) => () => {
        now += millis
        order.push(`${turns} ${n}`)
        return insert(n)()
      }
      const nextTurn = () => {
        turns++
        if (turns < 20) setImmediate(nextTurn)
      }
      const all = Effect.forEach(upTo(9), (n) => write(writer, takes(jobsMillis / 2, n)), { concurrency: "unbounded" })
      setImmediate(nextTurn)
      assert.deepStrictEqual(yield* all, upTo(9))
      assert.deepStrictEqual(numbers(), upTo(9))
      // Two of half the time each share a transaction, and no turn has more: the commit of large rows takes the rest of the turn.
      assert.strictEqual(begun(), 5)
      assert.deepStrictEqual(
        order.map((one) => one.split(" ")[1]),
        upTo(9).map(String)
      )
      const turnsOf = order.map((one) => one.split(" ")[0])
      for (const turn of turnsOf) assert.isAtMost(turnsOf.filter((other) => other === turn).length, 2)
      // Reads are divided likewise: here they wait, since the connection is lent.
      yield* writer.acquire
      let read = 0
      const takeTurn = () => {
        now += turnMillis
        read++
        return Exit.void
      }
      const reading = yield* Effect.fork(
        Effect.forEach(
          upTo(9),
          () =>
            Effect.withFiberRuntime<void, StorageError>((_, { runtimeFlags }) =>
              writer.read("read", takeTurn, runtimeFlags)
            ),
          { concurrency: "unbounded" }
        )
      )
      const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
      // All of them wait now.
      yield* turn
      yield* writer.release
      const seen: Array<number> = []
      while (read < 9) {
        yield* turn
        seen.push(read)
      }
      yield* Fiber.join(reading)
      assert.isTrue(
        seen.every((count, i) => count - (seen[i - 1] ?? 0) <= 1),
        String(seen)
      )
    })
  )

  it.scopedLive("fibers whose writes were committed together are resumed in slices of turns, in their order", () =>
    Effect.gen(function* () {
      let now = 0
      let turns = 0
      const { begun, insert, writer } = yield* makeBench(driver, 5_000, () => now)
      const ended: Array<readonly [turn: number, n: number]> = []
      const nextTurn = () => {
        turns++
        if (ended.length < 9) setImmediate(nextTurn)
      }
      setImmediate(nextTurn)
      // What each fiber does with its answer takes half of a slice.
      const one = (n: number) =>
        Effect.tap(write(writer, insert(n)), () => {
          now += sliceMillis / 2
          ended.push([turns, n])
          return write(writer, insert(n + 9))
        })
      yield* Effect.forEach(upTo(9), one, { concurrency: "unbounded" })
      // What they write next shares a commit, too.
      assert.strictEqual(begun(), 2)
      assert.deepStrictEqual(
        ended.map(([, n]) => n),
        upTo(9)
      )
      for (const [turn] of ended) assert.isAtMost(ended.filter(([other]) => other === turn).length, 2)
    })
  )

  it.scopedLive("writes end in the order of their commits, however long fibers take with their answers", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(programs, (program) => endsInOrder(driver, program)),
        { numRuns: 40, seed: seedOf(7) }
      )
    )
  )

  it.scopedLive("of writes that are alone, one in a turn that took long waits for the next", () =>
    Effect.gen(function* () {
      let now = 0
      const { insert, numbers, writer } = yield* makeBench(driver, 5_000, () => now)
      const insertAlone = (n: number) => Effect.runFork(write(writer, insert(n), "alone"))
      insertAlone(0)
      insertAlone(1)
      now += turnMillis
      const late = insertAlone(2)
      assert.deepStrictEqual(numbers(), [0, 1])
      yield* Fiber.join(late)
      assert.deepStrictEqual(numbers(), [0, 1, 2])
    })
  )

  it.scopedLive("a single write is not delayed", () =>
    Effect.gen(function* () {
      const { begun, insert, numbers, writer } = yield* makeBench(driver)
      const fiber = Effect.runFork(write(writer, insert(1), "alone"))
      assert.deepStrictEqual(numbers(), [1])
      assert.strictEqual(begun(), 1)
      assert.strictEqual(yield* Fiber.join(fiber), 1)
    })
  )

  it.scopedLive("a commit is synced unless none of its writes must be", () =>
    Effect.gen(function* () {
      const { insert, level, writer } = yield* makeBench(driver)
      let next = 0
      /** The level at which the write is committed. */
      const writeAs = (durability: CommitDurability, alone?: Alone) =>
        Effect.zipRight(
          write(writer, insert(++next), alone, durability),
          Effect.sync(() => level())
        )
      const together = (...all: ReadonlyArray<CommitDurability>) =>
        Effect.all(
          all.map((durability) => writeAs(durability)),
          { concurrency: "unbounded" }
        )
      const full = 2
      const extra = 3
      const normal = 1
      level(full)
      assert.strictEqual(yield* writeAs("process-crash", "single"), normal)
      assert.strictEqual(yield* writeAs("as-configured", "single"), full)
      assert.strictEqual(yield* writeAs("process-crash", "alone"), normal)
      assert.strictEqual(yield* writeAs("as-configured", "alone"), full)
      assert.deepStrictEqual(yield* together("process-crash", "process-crash"), [normal, normal])
      assert.deepStrictEqual(yield* together("process-crash", "as-configured"), [full, full])
      // The connection is lent with the level of the file, and comes back with that of the program.
      yield* writeAs("process-crash")
      yield* writer.acquire
      assert.strictEqual(level(), full)
      level(extra)
      yield* writer.release
      assert.strictEqual(yield* writeAs("process-crash"), normal)
      assert.strictEqual(yield* writeAs("as-configured"), extra)
      // Where nothing is synced, nothing is changed.
      yield* writer.acquire
      level(normal)
      yield* writer.release
      assert.strictEqual(yield* writeAs("process-crash"), normal)
      assert.strictEqual(yield* writeAs("as-configured"), normal)
    })
  )

  it.scopedLive("a refused write fails alone", () =>
    Effect.gen(function* () {
      const { insert, numbers, writer } = yield* makeBench(driver)
      const jobs = [1, 2, 2, 3].map((n) => Effect.exit(write(writer, insert(n))))
      const exits = yield* Effect.all(jobs, { concurrency: "unbounded" })
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, true, false, true])
      assert.deepStrictEqual(numbers(), [1, 2, 3])
    })
  )

  it.scopedLive("each write gets its own result if one is refused while the file becomes busy", () =>
    Effect.gen(function* () {
      const { insert, numbers, writer } = yield* makeBench(driver)
      let tries = 0
      /** The shared transaction is refused; when each write runs alone, the file is busy for a while. */
      const refused = () => {
        const code = ++tries >= 2 && tries <= 4 ? "SQLITE_BUSY" : "SQLITE_CONSTRAINT"
        throw Object.assign(new Error(code), { code })
      }
      const jobs = [insert(1), refused, insert(2)].map((job) => Effect.exit(write(writer, job)))
      const exits = yield* Effect.all(jobs, { concurrency: "unbounded" })
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
      assert.deepStrictEqual(numbers(), [1, 2])
    })
  )

  it.scopedLive("a failing read fails alone", () =>
    Effect.gen(function* () {
      const { numbers, writer } = yield* makeBench(driver)
      yield* writer.acquire
      const reads = [
        () => Exit.succeed(numbers()),
        () => {
          throw new Error("no")
        },
        () => Exit.succeed(numbers())
      ]
      const fibers = yield* Effect.forEach(reads, (read) =>
        Effect.fork(
          Effect.exit(
            Effect.withFiberRuntime<ReadonlyArray<number>, StorageError>((_, { runtimeFlags }) =>
              writer.read("read", read, runtimeFlags)
            )
          )
        )
      )
      yield* Effect.yieldNow()
      yield* writer.release
      const exits = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
    })
  )

  it.scopedLive("an interrupted write that has not started never happens", () =>
    Effect.gen(function* () {
      const { insert, numbers, writer } = yield* makeBench(driver)
      yield* writer.acquire
      const waiting = yield* Effect.fork(write(writer, insert(1)))
      const staying = yield* Effect.fork(write(writer, insert(2)))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(waiting)
      yield* writer.release
      yield* Fiber.join(staying)
      assert.deepStrictEqual(numbers(), [2])
    })
  )
})
