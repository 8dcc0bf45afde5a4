import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Lock } from "effect-recovery"
import { FileLock, FileTransaction } from "effect-recovery/files"
import { type Calls, CurrentCalls, errno, type Path } from "../../src/files/internal/system/calls.js"
import { type CrashPoint, crashingCalls } from "../support/crashingCalls.js"
import { temporaryFolder } from "../support/files.js"
import { changeFiles, prepareFiles } from "../support/fiveFiles.js"
import { treeOf } from "../support/tree.js"

const endings: Readonly<Record<string, Effect.Effect<void, unknown, FileTransaction.FileTransaction>>> = {
  commits: changeFiles,
  "rolls back": Effect.zipRight(changeFiles, Effect.fail("no"))
}

/** As in a process of its own: with its own locks, since the operating system releases those of a dead process. */
const inProcess = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.flatMap(temporaryFolder, (folder) => Effect.provide(self, FileLock.layer({ folder })))

/** Runs a program in a simulated process that dies at the point, or when the program runs `crash`. Returns the number of its calls. */
const until = <A, E>(
  point: CrashPoint | undefined,
  program: (crash: Effect.Effect<never>) => Effect.Effect<A, E, Lock.Lock>,
  of: (calls: Calls) => Calls = (calls) => calls
) =>
  Effect.async<number>((resume) => {
    // A dead process never continues, and the test no longer waits for it.
    const crash = Effect.zipRight(
      Effect.sync(() => resume(Effect.succeed(0))),
      Effect.never
    )
    const { calls, made } = crashingCalls(point, crash)
    const run = program(crash).pipe(
      inProcess,
      Effect.exit,
      Effect.scoped,
      Effect.provideService(CurrentCalls, of(calls))
    )
    Effect.runFork(Effect.map(run, () => resume(Effect.succeed(made.length))))
  })

/** As programs without transactions do. */
const changeInPlace = Effect.gen(function* () {
  for (const name of ["replaced", "removed", "archive"]) yield* FileTransaction.protect(name)
  const { root } = yield* FileTransaction.FileTransaction
  fs.writeFileSync(path.join(root, "replaced"), "new, and longer than before")
  fs.writeFileSync(path.join(root, "removed"), "")
  fs.rmSync(path.join(root, "archive/moved"))
  fs.writeFileSync(path.join(root, "archive/new"), "new")
})

const prepared = Effect.map(temporaryFolder, (folder) => {
  const root = fs.realpathSync(folder)
  prepareFiles(root)
  return { root, before: treeOf(root) }
})

describe("a crash of a transaction over five files", () => {
  for (const [name, change] of Object.entries(endings)) {
    it.live(`at any system call, when it ${name}, leaves all files old or all new after the recovery`, () =>
      Effect.gen(function* () {
        const undisturbed = yield* prepared
        const calls = yield* until(undefined, () => FileTransaction.run(change, undisturbed.root))
        const after = treeOf(undisturbed.root)
        assert.isAbove(calls, 30)
        const outcomes = new Set<string>()
        for (let call = 1; call <= calls; call++) {
          for (const when of ["before", "half"] as const) {
            const { before, root } = yield* prepared
            yield* until({ call, when }, () => FileTransaction.run(change, root))
            yield* inProcess(FileTransaction.recover(root))
            const found = treeOf(root)
            const isOld = JSON.stringify(found) === JSON.stringify(before)
            assert.deepStrictEqual(found, isOld ? before : after, `${when} call ${call}`)
            outcomes.add(isOld ? "old" : "new")
            fs.rmSync(root, { recursive: true })
          }
        }
        assert.deepStrictEqual([...outcomes].sort(), name === "commits" ? ["new", "old"] : ["old"])
      }).pipe(Effect.scoped)
    )
  }

  /** Nothing can be renamed out of the journal or into it. */
  const refusingRenames = (calls: Calls): Calls => {
    const isKept = (at: Path) => path.dirname(String(at)).endsWith(".file-transaction")
    const rename: Calls["rename"] = (from, to) =>
      path.extname(String(to)) === ".done" || isKept(from) === isKept(to)
        ? calls.rename(from, to)
        : Effect.fail(errno("EXDEV", "another device"))
    return { ...calls, rename }
  }

  for (const [name, of, changed] of [
    ["of the recovery", (calls: Calls) => calls, changeFiles],
    ["of a recovery that restores in place", refusingRenames, changeInPlace]
  ] as const) {
    it.live(`at any system call ${name} is completed by the next recovery`, () =>
      Effect.gen(function* () {
        const broken = Effect.tap(prepared, ({ root }) =>
          until(undefined, (crash) => FileTransaction.run(Effect.zipRight(changed, crash), root))
        )
        const first = yield* broken
        assert.isTrue(fs.existsSync(path.join(first.root, ".file-transaction")))
        const calls = yield* until(undefined, () => FileTransaction.recover(first.root), of)
        assert.deepStrictEqual(treeOf(first.root), first.before)
        assert.isAbove(calls, 10)
        for (let call = 1; call <= calls; call++) {
          const { before, root } = yield* broken
          yield* until({ call, when: "half" }, () => FileTransaction.recover(root), of)
          const { calls: next } = crashingCalls(undefined, Effect.never)
          yield* inProcess(FileTransaction.recover(root)).pipe(Effect.provideService(CurrentCalls, of(next)))
          assert.deepStrictEqual(treeOf(root), before, `call ${call}`)
        }
      }).pipe(Effect.scoped)
    )
  }
})
