import { assert, describe, it } from "@effect/vitest"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { Storage } from "effect-recovery"
import { request } from "../support/runs.js"
import { turns } from "../support/time.js"

const failed = Effect.fail(new Storage.StorageError({ reason: "Io", operation: "Renewing leases" }))

/** A service with one lease of 30 seconds, over a store whose renewals and clock are these. */
const leased = (changes: (store: Storage.Store) => Partial<Storage.Store>) =>
  Effect.gen(function* () {
    const store = Storage.memoryStore()
    const storage = yield* Storage.make({ ...store, ...changes(store) }, { owner: "a", lease: "30 seconds" })
    const opened = yield* Effect.uninterruptibleMask((restore) => storage.open(request("run"), restore))
    const lease = "lease" in opened ? opened.lease : assert.fail(opened._tag)
    const lost: Array<string> = []
    storage.keep(
      lease,
      ({ run }) => lost.push(run),
      () => {}
    )
    return { lost, store }
  })

const pass = (seconds: number) =>
  Effect.forEach(Array.from({ length: seconds }), () => Effect.zipRight(TestClock.adjust("1 second"), turns(2)))

describe("the renewal of leases", () => {
  it.scoped("continues after the store has failed, died, and thrown", () =>
    Effect.gen(function* () {
      let calls = 0
      const { lost, store } = yield* leased((store) => ({
        renew: (...args) => {
          calls++
          if (calls % 4 === 1) return failed
          if (calls % 4 === 2) return Effect.dieMessage("a defect of the store")
          if (calls % 4 === 3) throw new Error("thrown")
          return store.renew(...args)
        },
        now: failed
      }))
      yield* pass(29)
      assert.deepStrictEqual(lost, [])
      assert.strictEqual(calls, 2)
      yield* pass(1)
      assert.deepStrictEqual(lost, ["run"])
      assert.strictEqual((yield* store.open(request("run"), "b", 1_000))._tag, "Claimed")
    })
  )

  it.scoped("keeps the lease for as long as one renewal in its duration comes through", () =>
    Effect.gen(function* () {
      let calls = 0
      const { lost, store } = yield* leased((store) => ({
        renew: (...args) => (++calls % 2 === 1 ? Effect.dieMessage("a defect of the store") : store.renew(...args)),
        now: Effect.dieMessage("no clock")
      }))
      yield* pass(120)
      assert.deepStrictEqual(lost, [])
      assert.isAtLeast(calls, 10)
      assert.strictEqual((yield* store.open(request("run"), "b", 1_000))._tag, "Leased")
    })
  )

  it.scoped("counts the lease as lost when the store has kept silent for its duration", () =>
    Effect.gen(function* () {
      const { lost } = yield* leased(() => ({ renew: () => Effect.never }))
      yield* pass(29)
      assert.deepStrictEqual(lost, [])
      yield* pass(1)
      assert.deepStrictEqual(lost, ["run"])
    })
  )

  for (const [how, millis] of [
    ["ahead", 86_400_000],
    ["back", -86_400_000]
  ] as const) {
    it.scoped(`neither ends nor prolongs a lease when the clock is set ${how} by a day`, () =>
      Effect.gen(function* () {
        const clock = yield* Effect.clock
        let set = 0
        const moved: Clock.Clock = Object.assign(Object.create(clock), {
          unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + set,
          unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
          currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + set)
        })
        const { lost } = yield* Effect.withClock(
          leased(() => ({ renew: () => failed })),
          moved
        )
        yield* pass(5)
        set = millis
        yield* pass(24)
        assert.deepStrictEqual(lost, [])
        yield* pass(1)
        assert.deepStrictEqual(lost, ["run"])
      })
    )
  }
})
