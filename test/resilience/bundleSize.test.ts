import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { build } from "esbuild"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The program as a browser gets it, from the package as it is built: found by its name, as this file is part of it. */
const bundled = async (program: string) => {
  const { metafile } = await build({
    stdin: { contents: program, resolveDir: root },
    // The paths of tsconfig.json lead to the sources.
    tsconfigRaw: {},
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

/** Guards an effect with a breaker and a retry, imported as `imports` says. */
const guarded = (imports: string) => `
  import { Effect } from "effect"
  ${imports}
  const guarded = Effect.flatMap(CircuitBreaker.make({ name: "api" }), (breaker) =>
    Effect.fail("down").pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(RetryPolicy.exponential()))
  )
  Effect.runPromise(guarded)
`

const foreign =
  /effect\/dist\/esm\/(Schema|ParseResult|PubSub|Queue|Stream|internal\/(schema|pubsub|queue|stream|channel))/

/** What a program adds to one with `Effect.retry`, in bytes. It holds modules for browsers, and neither schemas nor streams. */
const added = async (program: string) => {
  const bare = await bundled(`
    import { Effect, Schedule } from "effect"
    const policy = Schedule.intersect(Schedule.exponential("1 second"), Schedule.recurs(3))
    Effect.runPromise(Effect.retry(Effect.fail("down"), policy))
  `)
  const { bytes, files } = await bundled(program)
  assert.include(files, "dist/resilience/CircuitBreaker.js")
  const unwanted = files.filter((file) => foreign.test(file) || file.startsWith("dist/node/"))
  assert.deepStrictEqual(unwanted, [])
  return bytes - bare.bytes
}

describe("A browser bundle with a breaker and a retry is little larger than one with Effect.retry", () => {
  it("if they are imported from the main door", async () => {
    assert.isAtMost(await added(guarded(`import { CircuitBreaker, RetryPolicy } from "effect-recovery"`)), 25_000)
  })

  it("and less so if they are imported by their paths", async () => {
    const imports = `
      import * as CircuitBreaker from "effect-recovery/CircuitBreaker"
      import * as RetryPolicy from "effect-recovery/RetryPolicy"
    `
    assert.isAtMost(await added(guarded(imports)), 15_000)
  })
})
