/**
 * Increments the number in a file under a lock and prints a line after each increment.
 * Or reads the file all the time, without a lock.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Lock } from "effect-recovery"
import { AtomicFile, DirectoryLock, FileLock } from "effect-recovery/files"
import { SqliteStorage } from "effect-recovery/sqlite"

const [what = "", kind = "", folder = "", times = "0"] = process.argv.slice(2)

const file = path.join(folder, "counter.json")
const say = (line: string) => Effect.sync(() => void fs.writeSync(1, `${line}\n`))

const locks = path.join(folder, "locks")
const layers: Readonly<Record<string, Layer.Layer<Lock.Lock, unknown>>> = {
  file: FileLock.layer({ folder: locks }),
  directory: DirectoryLock.layer({ folder: locks, poll: "20 millis" }),
  storage: Layer.provide(
    Lock.layerStorage({ poll: "20 millis" }),
    SqliteStorage.layer({ filename: path.join(folder, "locks.db"), durability: "process-crash" })
  )
}

const parse = (text: string): number => {
  const { count, padding }: { readonly count: number; readonly padding: string } = JSON.parse(text)
  if (padding.length !== 2_000) throw new Error("the file is torn")
  return count
}
const format = (count: number) => JSON.stringify({ count, padding: "x".repeat(2_000) })

const options = { durability: "process-crash", timeout: "2 minutes" } as const

const increment =
  what === "update"
    ? AtomicFile.update(file, (text) => Effect.sync(() => format(parse(Option.getOrThrow(text)) + 1)), options)
    : Effect.suspend(() => AtomicFile.write(file, format(parse(fs.readFileSync(file, "utf8")) + 1), options)).pipe(
        Lock.withLock(Lock.task("counter"), options)
      )

const incrementAll = Effect.forEach(
  Array.from({ length: Number(times) }),
  () => Effect.zipRight(increment, say("done")),
  { discard: true }
)

/** Reads until its standard input ends. */
const read = Effect.suspend(() => {
  let reads = 0
  let last = 0
  let over = false
  process.stdin.on("end", () => {
    over = true
  })
  process.stdin.resume()
  const once = Effect.async<void>((resume) => {
    fs.readFile(file, "utf8", (error, text) => {
      if (error !== null) throw error
      const count = parse(text)
      if (count < last) throw new Error("the count went back")
      last = count
      reads++
      resume(Effect.void)
    })
  })
  return Effect.flatMap(Effect.repeat(once, { until: () => over }), () => say(`reads ${reads}`))
})

const program = what === "read" ? read : Effect.provide(incrementAll, layers[kind] as Layer.Layer<Lock.Lock, unknown>)

Effect.runPromise(Effect.zipRight(say("ready"), program)).then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  }
)
