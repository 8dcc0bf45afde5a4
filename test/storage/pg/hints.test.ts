import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Stream from "effect/Stream"
import { makeHints } from "../../../src/storage/pg/hints.js"
import type { Query } from "../../../src/storage/pg/session.js"
import type { Change } from "../../../src/storage/Store.js"
import { eventually, turns } from "../../support/time.js"

/** What a process sends that reports these changes at once. */
const sentFor = (changes: ReadonlyArray<Change>): Effect.Effect<string> =>
  Effect.scoped(
    Effect.gen(function* () {
      const payloads: Array<string> = []
      const query: Query = (_, values = []) =>
        Effect.sync(() => {
          payloads.push(String(values[1]))
          return []
        })
      const hints = yield* makeHints("channel")
      for (const { isDue, run } of changes) hints.send(run, isDue)
      yield* hints.sendOver(query)
      yield* eventually(
        Effect.sync(() => payloads.length),
        (length) => length > 0
      )
      return payloads.join()
    })
  )

/** What a process hears of that. */
const heardOf = (payload: string): Effect.Effect<ReadonlyArray<Change>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const heard: Array<Change> = []
      const hints = yield* makeHints("channel")
      yield* Effect.forkScoped(Stream.runForEach(hints.changes, (change) => Effect.sync(() => heard.push(change))))
      yield* turns(5)
      hints.receive(payload)
      yield* turns(5)
      return heard
    })
  )

const run = FastCheck.oneof(FastCheck.constantFrom("a", "b", "c"), FastCheck.fullUnicodeString({ minLength: 1 }))

describe("hints of one process", () => {
  it.live("tell others each run once, and whether it may be due", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(FastCheck.record({ run, isDue: FastCheck.boolean() }), { minLength: 1, maxLength: 150 }),
          async (changes) => {
            const payload = await Effect.runPromise(sentFor(changes))
            const heard = await Effect.runPromise(heardOf(payload))
            const wanted = new Map<string, boolean>()
            for (const { isDue, run } of changes) wanted.set(run, isDue || wanted.get(run) === true)
            const known = new Map(heard.map(({ isDue, run }) => [run, isDue]))
            const isAny = known.has("")
            if (isAny) assert.strictEqual(known.get(""), [...wanted.values()].includes(true))
            else assert.deepStrictEqual([...known].sort(), [...wanted].sort())
            assert.strictEqual(heard.length, known.size)
            assert.isBelow(Buffer.byteLength(payload), 8_000)
          }
        ),
        { seed: 22, numRuns: 60 }
      )
    )
  )

  it.live("say that any run may have changed when they are many, and whether one may be due", () =>
    Effect.gen(function* () {
      const ended = Array.from({ length: 500 }, (_, i) => ({ run: `run-${i}`, isDue: false }))
      assert.deepStrictEqual(yield* heardOf(yield* sentFor(ended)), [{ run: "", isDue: false }])
      const last = [...ended, { run: "started", isDue: true }]
      assert.deepStrictEqual(yield* heardOf(yield* sentFor(last)), [{ run: "", isDue: true }])
    })
  )

  it.live("are understood by earlier builds, and understand theirs", () =>
    Effect.gen(function* () {
      const payload = yield* sentFor([
        { run: "ended", isDue: false },
        { run: "started", isDue: true }
      ])
      // They take each string for a run.
      const texts = (JSON.parse(payload) as ReadonlyArray<unknown>).filter((one) => typeof one === "string")
      assert.deepStrictEqual(texts, ["started", "ended"])
      assert.deepStrictEqual(yield* heardOf('["a","b"]'), [
        { run: "a", isDue: true },
        { run: "b", isDue: true }
      ])
    })
  )

  it.live("ignore what other programs send", () =>
    Effect.gen(function* () {
      for (const payload of ["", "hello", "{}", "null", "[1,2]", '{"run":"a"}']) {
        assert.deepStrictEqual(yield* heardOf(payload), [])
      }
    })
  )
})
