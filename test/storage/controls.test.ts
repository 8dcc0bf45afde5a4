import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Storage } from "effect-recovery"
import { request } from "../support/runs.js"
import { eventually, turns } from "../support/time.js"

const byOperator = { id: "manual", reason: "to look" }

/** Two services over one store, like two processes. `heard` has what the store told the first one about its lease. */
const services = (
  options: Partial<Storage.Options> = {},
  change: (store: Storage.Store) => Partial<Storage.Store> = () => ({})
) =>
  Effect.gen(function* () {
    const store = Storage.memoryStore()
    const mine = yield* Storage.make({ ...store, ...change(store) }, { owner: "mine", lease: "30 seconds", ...options })
    const other = yield* Storage.make(store, { owner: "other" })
    const heard: Array<string> = []
    const claim = (id: string) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.map(mine.open(request(id), restore), (opened) =>
          "lease" in opened ? opened.lease : assert.fail(opened._tag)
        )
      )
    const keep = (lease: Storage.Lease) =>
      mine.keep(
        lease,
        () => heard.push(`${lease.run} lost`),
        ({ cancel = "", hold }) => heard.push(`${lease.run} ${hold?.reason ?? "free"} ${cancel}`.trim())
      )
    return { mine, other, heard, claim, keep }
  })

/** The channel works by the platform's clock, so the clock of the test stands still. */
const hears = (heard: ReadonlyArray<string>, wanted: ReadonlyArray<string>) =>
  Effect.map(
    eventually(
      Effect.sync(() => heard.length),
      (count) => count >= wanted.length
    ),
    () => assert.deepStrictEqual(heard, wanted)
  )

describe("what an execution reads of holds and requests to cancel", () => {
  for (const isPrivate of [true, false]) {
    const where = isPrivate ? "a private store" : "a shared store"

    it.scoped(`in ${where}: each change by its own process, at once`, () =>
      Effect.gen(function* () {
        const { claim, heard, keep, mine } = yield* services({ isPrivate })
        keep(yield* claim("run"))
        yield* mine.hold("run", byOperator)
        yield* hears(heard, ["run to look"])
        yield* mine.releaseHold("run", "manual")
        yield* hears(heard, ["run to look", "run free"])
        yield* mine.cancel("run", "{}")
        yield* hears(heard, ["run to look", "run free", "run free {}"])
      })
    )

    it.scoped(`in ${where}: a change between the claim and the first renewal`, () =>
      Effect.gen(function* () {
        const { claim, heard, keep, mine } = yield* services({ isPrivate })
        const [held, cancelled, free] = [yield* claim("held"), yield* claim("cancelled"), yield* claim("free")]
        yield* mine.hold("held", byOperator)
        yield* mine.cancel("cancelled", "{}")
        for (const lease of [held, cancelled, free]) keep(lease)
        yield* turns(3)
        assert.deepStrictEqual(heard.sort(), ["cancelled free {}", "held to look"])
      })
    )
  }

  for (const [how, changes] of [
    ["at once if the store says so", undefined],
    ["by a read each second otherwise", Stream.empty]
  ] as const) {
    it.scoped(`a change by another process, ${how}`, () =>
      Effect.gen(function* () {
        const { claim, heard, keep, other } = yield* services({}, () => (changes === undefined ? {} : { changes }))
        keep(yield* claim("run"))
        yield* other.hold("run", byOperator)
        yield* hears(heard, ["run to look"])
        yield* other.releaseHold("run", "manual")
        yield* hears(heard, ["run to look", "run free"])
      })
    )
  }

  it.scoped("nothing after the lease was given back", () =>
    Effect.gen(function* () {
      const { claim, heard, keep, mine } = yield* services()
      const stop = keep(yield* claim("run"))
      stop()
      yield* mine.hold("run", byOperator)
      yield* turns(10)
      assert.deepStrictEqual(heard, [])
    })
  )

  it.scoped("by one read a second for all leases, and of no lease that was given back", () =>
    Effect.gen(function* () {
      const reads: Array<number> = []
      const { claim, keep } = yield* services({ lease: "1 hour" }, (store) => ({
        controls: (leases) => {
          reads.push(leases.length)
          return store.controls(leases)
        }
      }))
      yield* TestClock.adjust("1 day")
      const began = performance.now()
      const stops = [keep(yield* claim("a")), keep(yield* claim("b")), keep(yield* claim("c"))]
      // A clock that the program moves reads nothing.
      yield* TestClock.adjust("1 day")
      yield* eventually(
        Effect.sync(() => reads.length),
        (count) => count >= 2
      )
      assert.isAtMost(reads.length, (performance.now() - began) / 1_000)
      assert.deepStrictEqual([...new Set(reads)], [3])
      for (const stop of stops) stop()
      keep(yield* claim("d"))
      yield* eventually(
        Effect.sync(() => reads.at(-1)),
        (count) => count === 1
      )
    })
  )

  it.scoped("also after reads that failed, died and threw", () =>
    Effect.gen(function* () {
      let calls = 0
      const { claim, heard, keep, other } = yield* services({}, (store) => ({
        changes: Stream.empty,
        controls: (leases) => {
          calls++
          if (calls === 1) return Effect.fail(new Storage.StorageError({ reason: "Io", operation: "Reading" }))
          if (calls === 2) return Effect.dieMessage("a defect of the store")
          if (calls === 3) throw new Error("thrown")
          return store.controls(leases)
        }
      }))
      keep(yield* claim("run"))
      yield* other.hold("run", byOperator)
      yield* hears(heard, ["run to look"])
      assert.isAtLeast(calls, 4)
    })
  )

  it.scoped("although a read never ends, and leases are renewed meanwhile", () =>
    Effect.gen(function* () {
      let calls = 0
      let renewals = 0
      const { claim, heard, keep, other } = yield* services({ lease: "2 seconds" }, (store) => ({
        changes: Stream.empty,
        controls: (leases) => (++calls === 1 ? Effect.uninterruptible(Effect.never) : store.controls(leases)),
        renew: (...args) => {
          renewals++
          return store.renew(...args)
        }
      }))
      keep(yield* claim("run"))
      yield* other.hold("run", byOperator)
      yield* eventually(
        Effect.sync(() => calls),
        (count) => count === 1
      )
      yield* TestClock.adjust("1 second")
      assert.isAtLeast(renewals, 1)
      yield* hears(heard, ["run to look"])
    })
  )
})
