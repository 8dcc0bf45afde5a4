import { PassThrough } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { keys } from "../../src/cli/dashboard/keys.js"

/** The last key of each test: no sequence contains it. */
const last = "Z"

/** The keys that these chunks are read as. */
const keysOf = (chunks: ReadonlyArray<Uint8Array>): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const input = new PassThrough()
    const reading = yield* keys(input).pipe(
      Stream.takeUntil(({ sequence }) => sequence === last),
      Stream.map(({ ctrl, meta, name, sequence, shift }) => JSON.stringify({ ctrl, meta, name, sequence, shift })),
      Stream.runCollect,
      Effect.fork
    )
    // The listener is in place once the input has one for data.
    yield* Effect.repeat(Effect.yieldNow(), { until: () => input.listenerCount("data") > 0 })
    for (const chunk of [...chunks, Buffer.from(last)]) input.write(chunk)
    return Chunk.toReadonlyArray(yield* Fiber.join(reading))
  })

const one = FastCheck.constantFrom(
  ...[
    "q",
    "a",
    "\u0003",
    "\r",
    "\u007f",
    "ä",
    "日",
    "👩",
    "\u001b[A",
    "\u001b[1;5C",
    "\u001bOP",
    "\u001b[15~",
    "\u001b[Z"
  ]
)

/** Where to split the bytes. */
const cases = FastCheck.tuple(FastCheck.array(one, { maxLength: 12 }), FastCheck.array(FastCheck.nat(60)))

const split = (bytes: Buffer, places: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const ends = [...new Set([...places.filter((place) => place < bytes.length), bytes.length])].sort((a, b) => a - b)
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end))
}

describe("keys at a terminal", () => {
  it.live("are the same however their bytes are split into chunks", () =>
    Effect.forEach(
      FastCheck.sample(cases, { numRuns: 100, seed: 7 }),
      ([pressed, places]) =>
        Effect.gen(function* () {
          const bytes = Buffer.from(pressed.join(""))
          const together = yield* keysOf([bytes])
          assert.strictEqual(together.length, pressed.length + 1)
          assert.deepStrictEqual(yield* keysOf(split(bytes, places)), together, JSON.stringify({ pressed, places }))
          assert.deepStrictEqual(yield* keysOf([...bytes].map((byte) => Buffer.of(byte))), together)
        }),
      { discard: true }
    )
  )
})
