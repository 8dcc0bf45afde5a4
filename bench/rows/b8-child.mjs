/**
 * A process of B8: `<engine> <folder>`. A number on stdin lets it increment
 * the counter of the folder so often, each time under the lock, and answer with
 * the longest wait for it in milliseconds; `hold` lets it keep the lock for ever.
 */
import * as fs from "node:fs"
import * as readline from "node:readline"

const [engine, folder] = process.argv.slice(2)

const counter = `${folder}/counter`

/** Not atomic by itself: without the lock increments would be lost. */
const increment = () => fs.writeFileSync(counter, String(Number(fs.readFileSync(counter, "utf8")) + 1))

let longest = 0
const waited = (since) => {
  longest = Math.max(longest, performance.now() - since)
}

const { hold, times } = await (engine === "proper-lockfile" ? theirs() : ours())

for await (const line of readline.createInterface({ input: process.stdin })) {
  if (line === "hold") {
    await hold(() => console.log("held"))
    continue
  }
  longest = 0
  await times(Number(line))
  console.log(String(longest))
}
process.exit(0)

async function ours() {
  const Effect = await import("effect/Effect")
  const ManagedRuntime = await import("effect/ManagedRuntime")
  const { Lock } = await import("../../dist/node/index.js")
  const files = await import("../../dist/node/files.js")
  const runtime = ManagedRuntime.make(files[engine].layer({ folder }))
  const locked = Effect.suspend(() => {
    const asked = performance.now()
    const counted = Effect.sync(() => {
      waited(asked)
      increment()
    })
    return Lock.withLock(counted, "bench")
  })
  return {
    times: (count) => runtime.runPromise(Effect.repeatN(locked, count - 1)),
    hold: (held) => runtime.runPromise(Lock.withLock(Effect.zipRight(Effect.sync(held), Effect.never), "bench"))
  }
}

async function theirs() {
  const { default: lockfile } = await import("proper-lockfile")
  const retries = { retries: 10_000, minTimeout: 1, maxTimeout: 20, factor: 2, randomize: true }
  return {
    times: async (count) => {
      for (let i = 0; i < count; i++) {
        const asked = performance.now()
        const release = await lockfile.lock(counter, { realpath: false, retries })
        waited(asked)
        increment()
        await release()
      }
    }
  }
}
