import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { build } from "esbuild"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The program as a browser gets it, from the package as it is built. */
const bundled = async (program: string) => {
  const { metafile } = await build({
    stdin: { contents: program, resolveDir: root },
    alias: { "effect-recovery": "./dist/index.js" },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    write: false,
    metafile: true
  })
  const [output] = Object.values(metafile.outputs)
  const parts = Object.entries(output?.inputs ?? {}).filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  return { bytes: output?.bytes ?? Number.NaN, files: parts.map(([file]) => file) }
}

describe("A browser bundle", () => {
  it("with a breaker and a retry has neither schemas nor streams, and is little larger than with Effect.retry", async () => {
    const bare = await bundled(`
      import { Effect, Schedule } from "effect"
      const policy = Schedule.intersect(Schedule.exponential("1 second"), Schedule.recurs(3))
      Effect.runPromise(Effect.retry(Effect.fail("down"), policy))
    `)
    const ours = await bundled(`
      import { Effect } from "effect"
      import { CircuitBreaker, RetryPolicy } from "effect-recovery"
      const guarded = Effect.flatMap(CircuitBreaker.make({ name: "api" }), (breaker) =>
        Effect.fail("down").pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(RetryPolicy.exponential()))
      )
      Effect.runPromise(guarded)
    `)
    const foreign =
      /effect\/dist\/esm\/(Schema|ParseResult|PubSub|Queue|Stream|internal\/(schema|pubsub|queue|stream|channel))/
    assert.deepStrictEqual(
      ours.files.filter((file) => foreign.test(file)),
      []
    )
    assert.isAtMost(ours.bytes - bare.bytes, 25_000)
  })
})
