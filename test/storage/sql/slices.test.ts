import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Storage, Workflow } from "effect-recovery"
import { vi } from "vitest"
import { temporaryFile } from "../../support/files.js"
import { entry, leased, open, stock } from "./support.js"

const many = 60

/** Each look at the clock finds it a millisecond later, or the same. */
const turnsOf = <A, E, R>(self: Effect.Effect<A, E, R>, step: number): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    let [now, turns, isOn] = [0, 0, true]
    const clock = vi.spyOn(performance, "now").mockImplementation(() => (now += step))
    const turn = () => {
      turns++
      if (isOn) setImmediate(turn)
    }
    setImmediate(turn)
    return Effect.ensuring(
      Effect.map(self, () => turns),
      Effect.sync(() => {
        isOn = false
        clock.mockRestore()
      })
    )
  })

/** Turns that the answer takes only because its rows take long: at least one for each 6 of them. */
const takesSlices = <E, R>(name: string, rows: Effect.Effect<ReadonlyArray<unknown>, E, R>) =>
  Effect.gen(function* () {
    assert.strictEqual((yield* rows).length, many, name)
    const quick = yield* turnsOf(rows, 0)
    assert.isAtLeast((yield* turnsOf(rows, 1)) - quick, many / 6 - 1, name)
  })

const Empty = Workflow.make("Empty", {}, () => Effect.void)

const numbers = Array.from({ length: many }, (_, i) => i)

describe("answers with many rows", () => {
  it.scopedLive("are decoded in slices of a turn of the event loop", () =>
    Effect.gen(function* () {
      const { store } = yield* open(stock(yield* temporaryFile("runs.db")))
      const lease = yield* leased(store, "0")
      yield* store.append(
        lease,
        numbers.map((n) => entry(n + 1))
      )
      yield* Effect.forEach(numbers.slice(1), (n) => leased(store, `${n}`))
      yield* Effect.forEach(numbers, (n) => store.signal("0", `key-${n}`, "{}"))
      yield* takesSlices("runs", store.list({ limit: many }))
      yield* takesSlices("lines", store.journal(lease.key))
      yield* takesSlices("signals", store.signals(lease.key))
    })
  )

  it.effect("are summed up in slices, too", () =>
    Effect.gen(function* () {
      yield* Effect.forEach(numbers, (n) => Workflow.execute(Empty, { id: `${n}` }))
      yield* takesSlices("runs", Workflow.list({ limit: many }))
    }).pipe(Effect.provide(Storage.layerMemory))
  )
})
