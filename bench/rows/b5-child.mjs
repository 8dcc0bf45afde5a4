/** One process of B5: executes the run; told to hang, it says so in step 2 and waits to be killed. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"

const [engine, filename, mode] = process.argv.slice(2)

const body = (n) =>
  Effect.suspend(() => {
    if (mode !== "hang" || n !== 2) return Effect.void
    fs.writeSync(1, "in step 2\n")
    return Effect.never
  })

// Each engine loads only itself.
const { execute, layer } =
  engine === "ours" ? (await import("./ours.mjs")).makeOurs(body) : (await import("./theirs.mjs")).makeTheirs(body)

const sum = await Effect.runPromise(Effect.provide(execute("run"), layer(filename, "process-crash")))
fs.writeSync(1, `sum ${sum}\n`)
process.exit(0)
