/** Changes files where the test has mounted file systems, and prints what became of them as JSON. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { DirectoryLock, FileTransaction } from "effect-recovery/files"
import { treeOf } from "../support/tree.js"

const [scenario = "", root = "", user = ""] = process.argv.slice(2)
// The real user, too: the system judges access by it.
if (user !== "") {
  process.setgroups?.([])
  process.setgid?.(Number(user))
  process.setuid?.(Number(user))
}

const at = (name: string) => path.join(root, name)

const run = <A, E>(self: Effect.Effect<A, E, FileTransaction.FileTransaction>) =>
  self.pipe(
    FileTransaction.run(root),
    Effect.match({
      onSuccess: () => "success",
      onFailure: (error) => {
        const { _tag, reason } = error as { readonly _tag?: string; readonly reason?: string }
        return _tag === undefined ? String(error) : [_tag, ...(reason === undefined ? [] : [reason])].join(" ")
      }
    })
  )

const fail = Effect.fail("no")

/** Lets another program change the paths, and fails. */
const changed = (paths: ReadonlyArray<string>, change: () => void) =>
  Effect.forEach(paths, FileTransaction.protect).pipe(Effect.zipRight(Effect.sync(change)), Effect.zipRight(fail))

const { makeDirectory, move, protect, remove, write } = FileTransaction

type Scenario = Effect.Effect<unknown, unknown, FileTransaction.FileTransaction>

/** Each is run in a transaction of its own, one after the other; a function is called between them. */
const scenarios: Readonly<Record<string, ReadonlyArray<Scenario | (() => void)>>> = {
  move: [move("a.tmp", "a.json")],
  "move and fail": [Effect.zipRight(move("a.tmp", "a.json"), fail)],
  "mount points": [
    protect("conf"),
    write("conf", "new"),
    remove("conf"),
    move("conf", "elsewhere"),
    move("a", "conf"),
    protect("outer"),
    remove("outer"),
    write("outer/inner/x", "new"),
    makeDirectory("outer/inner/folder"),
    Effect.zipRight(write("a", "new"), fail)
  ],
  unchangeable: [protect("immutable"), protect("append-only"), Effect.zipRight(protect("a"), fail)],
  "lower folder": [
    changed(["build", "file"], () => {
      fs.writeFileSync(at("build/new"), "new")
      fs.rmSync(at("build/sub"), { recursive: true })
      fs.writeFileSync(at("build/old"), "changed")
      fs.writeFileSync(at("file"), "changed")
    })
  ],
  "mounted meanwhile": [
    changed(["a"], () => {
      fs.writeFileSync(at("a"), "changed")
      execFileSync("mount", ["--bind", "outside", at("a")])
    }),
    write("b", "new"),
    () => void execFileSync("umount", [at("a")]),
    fail
  ],
  "folders of others": [
    protect("tight/read-only"),
    protect("tight/missing"),
    changed(["tight/open", "sticky/open"], () => {
      fs.writeFileSync(at("tight/open"), "changed and longer")
      fs.writeFileSync(at("sticky/open"), "")
    })
  ]
}

const program = Effect.gen(function* () {
  const before = treeOf(root)
  const inodes = fs.readdirSync(root).map((name) => String(fs.statSync(at(name), { bigint: true }).ino))
  const outcomes = yield* Effect.forEach(scenarios[scenario] ?? [], (step) =>
    typeof step === "function" ? Effect.sync(() => String(step())) : run(step)
  )
  return { outcomes, before, after: treeOf(root), inodes }
})

Effect.runPromise(
  program.pipe(Effect.provide(DirectoryLock.layer({ folder: path.join(path.dirname(root), "locks") })))
).then((result) => fs.writeSync(1, `${JSON.stringify(result)}\n`))
