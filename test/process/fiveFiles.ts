/** Changes five files in one transaction, and sends itself a SIGKILL at one of its system calls. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { FileLock, FileTransaction } from "effect-recovery/files"
import { CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { crashingCalls } from "../support/crashingCalls.js"
import { changeFiles } from "../support/fiveFiles.js"

const [root = "", locks = "", ending = "", call = "0", when = ""] = process.argv.slice(2)

const kill = Effect.zipRight(
  Effect.sync(() => process.kill(process.pid, "SIGKILL")),
  Effect.never
)
const point = call === "0" ? undefined : { call: Number(call), when: when as "before" | "half" }
const { calls, made } = crashingCalls(point, kill, nodeCalls.thisProcess)

const change: Effect.Effect<void, unknown, FileTransaction.FileTransaction> =
  ending === "commits" ? changeFiles : Effect.zipRight(changeFiles, Effect.fail("no"))

Effect.runPromise(
  change.pipe(
    FileTransaction.run(root),
    Effect.exit,
    Effect.provide(FileLock.layer({ folder: locks })),
    Effect.provideService(CurrentCalls, calls)
  )
).then(() => fs.writeSync(1, `calls ${made.length}\n`))
