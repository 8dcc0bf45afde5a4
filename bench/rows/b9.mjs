/** B9: what a breaker and a retry add to a minified browser bundle with `Effect.retry`. */
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { build } from "esbuild"
import { goal } from "../harness.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))

const programs = {
  "Effect.retry": `
    import { Effect, Schedule } from "effect"
    const policy = Schedule.intersect(Schedule.exponential("1 second"), Schedule.recurs(3))
    Effect.runPromise(Effect.retry(Effect.fail("down"), policy))
  `,
  "ours: retry": `
    import { Effect } from "effect"
    import { RetryPolicy } from "effect-recovery"
    Effect.runPromise(Effect.fail("down").pipe(RetryPolicy.retry(RetryPolicy.exponential())))
  `,
  "ours: breaker and retry": `
    import { Effect } from "effect"
    import { CircuitBreaker, RetryPolicy } from "effect-recovery"
    const guarded = Effect.flatMap(CircuitBreaker.make({ name: "api" }), (breaker) =>
      Effect.fail("down").pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(RetryPolicy.exponential()))
    )
    Effect.runPromise(guarded)
  `
}

const bundled = async (contents) => {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    alias: { "effect-recovery": "./dist/index.js" },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    write: false
  })
  return { bytes: outputFiles[0].contents.length, zipped: gzipSync(outputFiles[0].contents).length }
}

export const run = async () => {
  const values = {}
  for (const [name, program] of Object.entries(programs)) values[name] = await bundled(program)
  const bare = values["Effect.retry"]
  const kilobytes = (bytes) => `${(bytes / 1_000).toFixed(1)} KB`
  const added = (values["ours: breaker and retry"].bytes - bare.bytes) / 1_000
  return {
    title: "B9  size of a browser bundle, minified",
    table: [
      ["", "size", "added", "added, gzipped"],
      ...Object.entries(values).map(([name, { bytes, zipped }]) => [
        name,
        kilobytes(bytes),
        kilobytes(bytes - bare.bytes),
        kilobytes(zipped - bare.zipped)
      ])
    ],
    goals: [
      goal("breaker and retry, added to Effect.retry", added, { atMost: 15, unit: "KB", beside: bare.bytes / 1_000 })
    ],
    values
  }
}
