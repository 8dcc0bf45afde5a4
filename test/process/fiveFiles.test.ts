import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { FileLock, FileTransaction } from "effect-recovery/files"
import { assert, describe, it } from "vitest"
import { lengthOf } from "../support/campaigns.js"
import { useProgram } from "../support/children.js"
import { prepareFiles } from "../support/fiveFiles.js"
import { treeOf } from "../support/tree.js"

const stride = lengthOf("CALL_STRIDE")

describe("a process killed at system calls of a transaction over five files", () => {
  const { folder, start } = useProgram("fiveFiles.ts")

  const prepare = (name: string) => {
    const root = path.join(folder, name)
    fs.mkdirSync(root)
    prepareFiles(root)
    return root
  }

  const recover = (root: string, locks: string) =>
    Effect.runPromise(FileTransaction.recover(root).pipe(Effect.provide(FileLock.layer({ folder: locks }))))

  for (const ending of ["commits", "rolls-back"]) {
    it(`that ${ending}: all old or all new, no leftovers, permissions unchanged (every ${stride}. call)`, async () => {
      const locks = path.join(folder, "locks")
      const undisturbed = prepare(`${ending}-undisturbed`)
      const before = treeOf(undisturbed)
      const first = start(undisturbed, locks, ending)
      const calls = Number((await first.line((line) => line.startsWith("calls "))).slice(6))
      await first.exited
      const after = treeOf(undisturbed)
      assert.isAbove(calls, 30)
      const counts = { old: 0, new: 0, undisturbed: 0 }

      const killedAt = async (call: number, when: string) => {
        const root = prepare(`${ending}-${call}-${when}`)
        const child = start(root, locks, ending, String(call), when)
        const ended = await child.exited
        // A process that is slow renews its lock once more: the undisturbed one may have made a call that this one did not.
        if (ended === 0) counts.undisturbed++
        else assert.strictEqual(ended, "SIGKILL", child.errors)
        // The lock of the dead process is free: recovery does not wait.
        await recover(root, locks)
        const found = treeOf(root)
        const isOld = JSON.stringify(found) === JSON.stringify(before)
        assert.deepStrictEqual(found, isOld ? before : after, `${when} call ${call}`)
        counts[isOld ? "old" : "new"]++
      }
      // Near the end lies the commit.
      const points = Array.from({ length: calls }, (_, i) => i + 1).filter((i) => i % stride === 0 || i > calls - 3)
      const work = points.map((call) => () => killedAt(call, call % 3 === 0 ? "half" : "before"))
      const worker = async () => {
        for (let next = work.shift(); next !== undefined; next = work.shift()) await next()
      }
      await Promise.all([worker(), worker()])
      assert.strictEqual(counts.old + counts.new, points.length)
      assert.isAtMost(counts.undisturbed, 3)
      assert.isAtLeast(counts.old, Math.floor(20 / stride))
      if (ending === "commits") assert.isAbove(counts.new, 0)
      else assert.strictEqual(counts.new, 0)
    })
  }
})
