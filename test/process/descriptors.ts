/** Uses more files than it may have open, and prints what became of it as JSON. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { AtomicFile, FileLock, FileTransaction } from "effect-recovery/files"
import { treeOf } from "../support/tree.js"

const [scenario = "", folder = ""] = process.argv.slice(2)
const root = path.join(folder, "root")
const names = Array.from({ length: 400 }, (_, i) => `file-${i}`)

const describeError = ({ _tag, message, reason }: { _tag: string; message: string; reason?: string }) => ({
  tag: _tag,
  reason,
  message
})

const outcomeOf = <A, R>(self: Effect.Effect<A, { readonly _tag: string; readonly message: string }, R>) =>
  Effect.match(self, { onSuccess: () => "success" as const, onFailure: describeError })

const takeAll = (): ReadonlyArray<number> => {
  const taken: Array<number> = []
  try {
    for (;;) taken.push(fs.openSync("/dev/null", "r"))
  } catch {
    return taken
  }
}

const scenarios = {
  "concurrent writes": outcomeOf(
    Effect.forEach(names, (name) => AtomicFile.write(path.join(root, name), "new"), { concurrency: "unbounded" })
  ),
  "a transaction of many files": outcomeOf(
    Effect.forEach(names, (name) => FileTransaction.write(name, "new")).pipe(FileTransaction.run(root))
  ),
  "none is left": Effect.acquireUseRelease(
    Effect.sync(takeAll),
    () => outcomeOf(AtomicFile.write(path.join(root, "file-0"), "new")),
    (taken) =>
      Effect.sync(() => {
        for (const file of taken) fs.closeSync(file)
      })
  )
}

const program = Effect.gen(function* () {
  fs.mkdirSync(root, { recursive: true })
  for (const name of names) fs.writeFileSync(path.join(root, name), "old")
  const before = treeOf(root)
  const outcome = yield* scenarios[scenario as keyof typeof scenarios]
  const after = treeOf(root)
  const isUnchanged = JSON.stringify(before) === JSON.stringify(after)
  return { outcome, isUnchanged, written: names.filter((name) => after[name]?.endsWith("new") === true).length }
})

Effect.runPromise(program.pipe(Effect.provide(FileLock.layer({ folder: path.join(folder, "locks") })))).then((result) =>
  fs.writeSync(1, `${JSON.stringify(result)}\n`)
)
