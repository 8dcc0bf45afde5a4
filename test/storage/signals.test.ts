import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Storage } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { connect } from "../support/drivers.js"
import { temporaryFile } from "../support/files.js"
import { toVersion8 } from "../support/olderFiles.js"
import { answers, lease, request, suspended } from "../support/runs.js"
import { backends } from "../support/storages.js"

const find = (store: Storage.Store, id: string) => Effect.map(store.find(id), Option.getOrThrow)

const keysOf = (store: Storage.Store, run: Storage.Run, skip?: number) =>
  Effect.map(store.signals(run.key, skip), (signals) => signals.map(({ key }) => key))

const send = (store: Storage.Store, run: string, keys: ReadonlyArray<string>) =>
  Effect.forEach(keys, (key) => store.signal(run, key, `"${key}"`))

for (const { make, name } of backends) {
  describe(`the signals of a run on ${name}`, () => {
    it.scoped("are counted on the run, and read from a position", () =>
      Effect.gen(function* () {
        const { store } = yield* make
        yield* lease(store, request("run"), "a")
        yield* lease(store, request("other"), "a")
        assert.strictEqual((yield* find(store, "run")).signals, 0)
        yield* send(store, "run", ["z", "a"])
        yield* send(store, "other", ["b"])
        yield* send(store, "run", ["z", "m"])
        const run = yield* find(store, "run")
        assert.strictEqual(run.signals, 3)
        for (const [skip, keys] of [
          [undefined, ["z", "a", "m"]],
          [0, ["z", "a", "m"]],
          [2, ["m"]],
          [3, []],
          [9, []]
        ] as const) {
          assert.deepStrictEqual(yield* keysOf(store, run, skip), [...keys])
        }
      })
    )
  })
}

const withFile = <A, E, R>(use: (filename: string, sql: (text: string) => void) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(temporaryFile("runs.db"), (filename) =>
    use(filename, (text) => {
      const other = connect(filename)
      other.exec(text)
      other.close()
    })
  )

describe("a file of the version before", () => {
  it.scopedLive("keeps its runs, their leases, and their signals in order", () =>
    withFile((filename, sql) =>
      Effect.gen(function* () {
        const open = SqliteStorage.store({ filename })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const store = yield* open
            yield* suspended(store, request("due"), 0)
            yield* suspended(store, request("woken"), 8.64e15)
            yield* suspended(store, request("sleeping"), 8.64e15)
            yield* lease(store, request("held"), "another-host/1@1/x/1", 1e9)
            yield* send(store, "woken", ["z", "a"])
            yield* send(store, "held", ["m"])
            yield* send(store, "woken", ["k"])
          })
        )
        sql(toVersion8)
        const store = yield* open
        const counts = yield* Effect.forEach(["due", "woken", "sleeping", "held"], (id) =>
          Effect.map(find(store, id), ({ signals }) => signals)
        )
        assert.deepStrictEqual(counts, [0, 3, 0, 1])
        assert.deepStrictEqual(yield* keysOf(store, yield* find(store, "woken")), ["z", "a", "k"])
        assert.deepStrictEqual(yield* store.check, [])
        const workflows = [{ workflow: "w", version: "1" }]
        const found = yield* store.claimDue({ workflows, limit: 10 }, "me", 1_000)
        assert.deepStrictEqual(answers(found), ["Claimed due", "Claimed woken"])
        // The next signal has the next position.
        yield* send(store, "woken", ["b"])
        assert.deepStrictEqual(yield* keysOf(store, yield* find(store, "woken"), 3), ["b"])
      })
    )
  )
})

describe("a check of the storage", () => {
  for (const [damage, text, found] of [
    [
      "a signal that is missing",
      "DELETE FROM recovery_signals WHERE seq = 2",
      ["the run: it counts 3 signals, and 2 are stored", 'signal "c": its position is 3']
    ],
    [
      "a count that is too high",
      "UPDATE recovery_runs SET signals = 5",
      ["the run: it counts 5 signals, and 3 are stored"]
    ],
    [
      "a count that is no number",
      "UPDATE recovery_runs SET signals = 'x'",
      ["the run: a number is stored as something else", "the run: it counts x signals, and 3 are stored"]
    ]
  ] as const) {
    it.scopedLive(`finds ${damage}`, () =>
      withFile((filename, sql) =>
        Effect.gen(function* () {
          const store = yield* SqliteStorage.store({ filename })
          yield* suspended(store, request("run"), 0)
          yield* send(store, "run", ["a", "b", "c"])
          sql(text)
          assert.deepStrictEqual(
            (yield* store.check).map(({ problem, what }) => `${what}: ${problem}`),
            [...found]
          )
        })
      )
    )
  }
})
