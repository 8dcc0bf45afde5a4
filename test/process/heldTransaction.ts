/** Changes a file in a transaction that lives until the process is killed. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { FileLock, FileTransaction } from "effect-recovery/files"

const [root = "", locks = ""] = process.argv.slice(2)

Effect.runFork(
  Effect.gen(function* () {
    yield* FileTransaction.write("a", "new")
    fs.writeSync(1, "changed\n")
    yield* Effect.never
  }).pipe(FileTransaction.run(root), Effect.provide(FileLock.layer({ folder: locks })))
)
