import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Lock } from "effect-recovery"
import { DirectoryLock } from "effect-recovery/files"
import { directoryDriver } from "../../src/files/internal/lock/directoryDriver.js"
import { type Call, type Calls, CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { thisProcess } from "../../src/host/owner.js"
import { lengthOf } from "../support/campaigns.js"
import { seeded } from "../support/children.js"
import { temporaryFolder } from "../support/files.js"

const racers = 20
const rounds = lengthOf("TAKEOVER_ROUNDS")

/** The system calls with a random pause before and after each. */
const delayed = (random: (below: number) => number): Calls => {
  const pause = Effect.suspend(() => {
    const turns = random(8)
    if (turns === 0) return Effect.void
    return Effect.async<void>((resume) => {
      const wait = (left: number): void => void setImmediate(() => (left === 0 ? resume(Effect.void) : wait(left - 1)))
      wait(turns)
    })
  })
  const slow =
    <Args extends ReadonlyArray<unknown>, A>(call: (...args: Args) => Call<A>) =>
    (...args: Args): Call<A> =>
      Effect.zipLeft(Effect.zipRight(pause, call(...args)), pause)
  // Every entry keeps its type; Object.fromEntries cannot express that.
  return Object.fromEntries(
    Object.entries(nodeCalls).map(([name, call]) => [name, slow(call as never)])
  ) as unknown as Calls
}

const ended = () => Number(childProcess.execFileSync(process.execPath, ["-e", "console.log(process.pid)"]).toString())

const name = Lock.task("T-1")
const placeIn = (folder: string) => path.join(folder, "task", "T-1.lock")

/** A lock that is held by an owner. */
const leave = (folder: string, owner: string, token: number) => {
  fs.mkdirSync(placeIn(folder), { recursive: true })
  fs.writeFileSync(path.join(placeIn(folder), `held~${token}~0~${owner.replaceAll("/", "+")}~3`), "")
}

/** One lock service per racing process. */
const services = (folder: string, stale: Duration.DurationInput) =>
  Effect.forEach(Array.from({ length: racers }), () =>
    Effect.map(Layer.build(DirectoryLock.layer({ folder, stale })), Context.get(Lock.Lock))
  )

/** Each racer attempts once; a winner keeps the lock until all have attempted. */
const race = (locks: ReadonlyArray<Lock.Service>) =>
  Effect.scoped(
    Effect.map(
      Effect.forEach(locks, (one) => one.acquireIfAvailable(name), { concurrency: "unbounded" }),
      (results) => results.filter(Option.isSome).map(({ value }) => value)
    )
  )

describe("taking over a lock", () => {
  it.live(`of a dead process has one winner of ${racers} racers, ${rounds} times`, () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const locks = yield* services(folder, "1 hour")
      const calls = delayed(seeded(20261125))
      const dead = thisProcess().replace(/\/\d+@/, `/${ended()}@`)
      for (let round = 1; round <= rounds; round++) {
        leave(folder, `${dead}/x`, round)
        const winners = yield* Effect.provideService(race(locks), CurrentCalls, calls)
        assert.strictEqual(winners.length, 1, `round ${round}`)
        assert.isAbove(winners[0]?.token ?? 0, round)
        assert.strictEqual(fs.readdirSync(placeIn(folder)).length, 1)
        fs.rmSync(placeIn(folder), { recursive: true })
      }
      // The losers leave no temporary files.
      assert.deepStrictEqual(fs.readdirSync(path.join(folder, "task")), [])
    }).pipe(Effect.scoped)
  )

  it.live("that does not exist yet has one winner", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const locks = yield* services(folder, "1 hour")
      const calls = delayed(seeded(4711))
      for (let round = 1; round <= rounds / 5; round++) {
        const winners = yield* Effect.provideService(race(locks), CurrentCalls, calls)
        assert.strictEqual(winners.length, 1, `round ${round}`)
        fs.rmSync(placeIn(folder), { recursive: true })
      }
      assert.deepStrictEqual(fs.readdirSync(path.join(folder, "task")), [])
    }).pipe(Effect.scoped)
  )

  it.live("of a holder on another host succeeds only after watching it without heartbeats for `stale`", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      leave(folder, "elsewhere-0123/1@1/x", Number.MAX_SAFE_INTEGER - 10)
      const [first, second] = yield* services(folder, "1 second")
      const asked = (one: Lock.Service | undefined) =>
        one === undefined ? Effect.succeedNone : Effect.scoped(one.acquireIfAvailable(name))
      assert.deepStrictEqual(yield* asked(first), Option.none())
      const status = yield* (first as Lock.Service).status(name)
      assert.deepInclude(status, { state: "held", owner: "elsewhere-0123/1@1/x" })
      // A waiting process acquires it, but not before `stale` has passed.
      const started = performance.now()
      const token = yield* (first as Lock.Service).withLock(
        Effect.map(Lock.Held, (held) => held.token),
        name
      )
      assert.isAbove(performance.now() - started, 700)
      // The token exceeds one that is ahead of the clock.
      assert.strictEqual(token, Number.MAX_SAFE_INTEGER - 9)
      assert.isTrue(Option.isSome(yield* asked(second)))
    }).pipe(Effect.scoped)
  )

  it.live("of a slow holder: it keeps the lock or detects the loss, and there is one holder", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const random = seeded(1)
      const calls = delayed(random)
      const outcomes = new Set<string>()
      for (let round = 1; round <= rounds / 5; round++) {
        // The other driver treats this holder as one of another host, and has to watch it.
        const holder = directoryDriver({ folder, staleMillis: 3_600_000, poll: 1 })
        const key = yield* holder.keyOf(name)
        const attempt = yield* holder.attempt(key, name, (wait) => wait)
        if (attempt._tag !== "Acquired") return assert.fail(attempt._tag)
        const disguise = fs.readdirSync(placeIn(folder))[0] ?? ""
        const driver = directoryDriver({ folder, staleMillis: 0, poll: 1 })
        // With `staleMillis: 0` one observation suffices: the next attempt takes over.
        yield* driver.attempt(key, name, (wait) => wait)
        assert.deepStrictEqual(fs.readdirSync(placeIn(folder)), [disguise])
        const { renew } = attempt.grip
        const take = driver.attempt(key, name, (wait) => wait)
        // Renewal first, takeover first, and both at once.
        const orders = [
          Effect.all([renew, take]),
          Effect.map(Effect.all([take, renew]), ([taken, renewed]) => [renewed, taken] as const),
          Effect.all([renew, take], { concurrency: "unbounded" })
        ] as const
        const order = orders[round % 3] ?? orders[2]
        const [renewed, taken] = yield* Effect.provideService(order, CurrentCalls, calls)
        const isTaken = taken._tag === "Acquired"
        assert.strictEqual(fs.readdirSync(placeIn(folder)).length, 1)
        // A holder that renewed before the takeover detects the loss at its next renewal.
        if (!isTaken) assert.isTrue(renewed)
        else {
          assert.isFalse(yield* attempt.grip.renew)
          assert.isFalse(yield* attempt.grip.release)
          assert.isTrue(yield* taken.grip.release)
        }
        if (!isTaken) assert.isTrue(yield* attempt.grip.release)
        outcomes.add(`${renewed} ${isTaken}`)
      }
      assert.includeMembers([...outcomes], ["true false", "false true"])
    }).pipe(Effect.scoped)
  )
})
