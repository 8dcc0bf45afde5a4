import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Lock } from "effect-recovery"
import { FileTransaction } from "effect-recovery/files"
import { type Calls, CurrentCalls, nodeCalls, type Path } from "../../src/files/internal/system/calls.js"
import { useProgram } from "../support/children.js"
import { inRoot } from "../support/fileTransactions.js"
import { describeMounted, inMounts } from "../support/mounts.js"
import { treeOf } from "../support/tree.js"

/** The path as the folder spells it. */
const spelled = <P extends Path>(given: P): P => {
  if (typeof given !== "string") return given
  const [folder, name] = [path.dirname(given), path.basename(given)]
  const listed = fs.existsSync(folder) ? fs.readdirSync(folder) : []
  const found = listed.find((one) => one.toLowerCase() === name.toLowerCase())
  // The path is a string, so the type of its spelling is the same.
  return (found === undefined ? given : path.join(folder, found)) as P
}

/** A file system that ignores case. Renaming a file to another spelling does nothing on Linux, and respells it on macOS. */
const ignoringCase = (system: "linux" | "macos"): Calls => ({
  ...nodeCalls,
  lstat: (at) => Effect.suspend(() => nodeCalls.lstat(spelled(at))),
  open: (at, flags, mode) => Effect.suspend(() => nodeCalls.open(spelled(at), flags, mode)),
  unlink: (at) => Effect.suspend(() => nodeCalls.unlink(spelled(at))),
  readFile: (at) => Effect.suspend(() => nodeCalls.readFile(spelled(at))),
  rename: (from, to) =>
    Effect.suspend(() => {
      const isSame = spelled(from) === spelled(to)
      if (isSame && system === "linux") return Effect.void
      return nodeCalls.rename(spelled(from), isSame ? to : spelled(to))
    })
})

describe("FileTransaction.move, where the file system ignores case", () => {
  for (const system of ["linux", "macos"] as const) {
    const within = <A, E, R>(self: Effect.Effect<A, E, R>) =>
      Effect.provideService(self, CurrentCalls, ignoringCase(system))

    for (const [what, from, to] of [
      ["file", "a", "A"],
      ["folder", "folder", "Folder"]
    ] as const) {
      it.live(`spells a ${what} anew, and its rollback spells it as before (${system})`, () =>
        inRoot(({ at, before, root }) =>
          Effect.gen(function* () {
            const moved = FileTransaction.move(from, to)
            yield* Effect.zipRight(moved, Effect.fail("no")).pipe(FileTransaction.run(root), Effect.flip, within)
            assert.deepStrictEqual(treeOf(root), before)
            yield* moved.pipe(FileTransaction.run(root), within)
            assert.include(fs.readdirSync(root), to)
            assert.notInclude(fs.readdirSync(root), from)
            // The second spelling may have the same lock, so it is not locked again.
            assert.strictEqual((yield* Lock.status(Lock.resource(at(to)))).token, 0)
          })
        )
      )
    }
  }
})

describeMounted("FileTransaction.move on an overlay whose inode numbers are above 2^53", () => {
  const { folder, program } = useProgram("mounted.ts")
  const mounts = `
    mkdir -p lower upper merged
    mount -t tmpfs none lower; mount -t tmpfs none upper; mkdir upper/files upper/work
    printf old > lower/a.json; printf new > lower/a.tmp
    mount -t overlay overlay -o lowerdir=lower,upperdir=upper/files,workdir=upper/work,xino=on merged`

  it("replaces the file, and a rollback restores both", (context) => {
    const moved = (scenario: string) =>
      inMounts(context, folder, mounts, [program(), scenario, path.join(folder, "merged")])
    const { after, inodes, outcomes } = moved("move")
    assert.deepStrictEqual(outcomes, ["success"])
    assert.deepStrictEqual(after, { "a.json": "644 1 new" })
    // Numbers that a double cannot tell apart: otherwise the test shows nothing.
    assert.strictEqual(new Set(inodes.map(Number)).size, 1)
    const failed = moved("move and fail")
    assert.deepStrictEqual(failed.outcomes, ["no"])
    assert.deepStrictEqual(failed.after, failed.before)
  })
})
