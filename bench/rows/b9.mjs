/** B9: what a breaker and a retry add to a minified browser bundle with `Effect.retry`. */
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { build } from "esbuild"
import { goal } from "../harness.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))

const retrying = (imports) => `
  import { Effect } from "effect"
  ${imports}
  Effect.runPromise(Effect.fail("down").pipe(RetryPolicy.retry(RetryPolicy.exponential())))
`

const guarded = (imports) => `
  import { Effect } from "effect"
  ${imports}
  const guarded = Effect.flatMap(CircuitBreaker.make({ name: "api" }), (breaker) =>
    Effect.fail("down").pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(RetryPolicy.exponential()))
  )
  Effect.runPromise(guarded)
`

const byPath = (...names) => names.map((name) => `import * as ${name} from "effect-recovery/${name}"`).join("\n")
const door = "ours: breaker and retry, from the main door"
const paths = "ours: breaker and retry, by their paths"

const programs = {
  "Effect.retry": `
    import { Effect, Schedule } from "effect"
    const policy = Schedule.intersect(Schedule.exponential("1 second"), Schedule.recurs(3))
    Effect.runPromise(Effect.retry(Effect.fail("down"), policy))
  `,
  "ours: retry, from the main door": retrying(`import { RetryPolicy } from "effect-recovery"`),
  "ours: retry, by its path": retrying(byPath("RetryPolicy")),
  [door]: guarded(`import { CircuitBreaker, RetryPolicy } from "effect-recovery"`),
  [paths]: guarded(byPath("CircuitBreaker", "RetryPolicy"))
}

const bundled = async (contents) => {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    // The paths of tsconfig.json lead to the sources.
    tsconfigRaw: {},
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
  const added = (name) => (values[name].bytes - bare.bytes) / 1_000
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
      goal("breaker and retry by their paths, added to Effect.retry", added(paths), {
        atMost: 15,
        unit: "KB",
        beside: bare.bytes / 1_000
      }),
      goal("breaker and retry from the main door, added to Effect.retry", added(door), {
        atMost: 25,
        unit: "KB",
        beside: bare.bytes / 1_000
      })
    ],
    values
  }
}
