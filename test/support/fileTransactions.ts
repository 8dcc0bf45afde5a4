import * as fs from "node:fs"
import * as path from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Lock } from "effect-recovery"
import { FileLock, FileTransaction } from "effect-recovery/files"
import { CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { deadProcess } from "./crashingCalls.js"
import { temporaryFolder } from "./files.js"
import { treeOf } from "./tree.js"

/** A root with the files `a` and `folder/b`. */
export interface Root {
  readonly root: string
  /** The full path of a name in the root. */
  readonly at: (name: string) => string
  readonly text: (name: string) => string
  readonly before: ReturnType<typeof treeOf>
}

export const makeRoot = Effect.map(temporaryFolder, (folder): Root => {
  const root = fs.realpathSync(folder)
  const at = (name: string) => path.join(root, name)
  fs.mkdirSync(at("folder"))
  fs.writeFileSync(at("a"), "old a")
  fs.writeFileSync(at("folder/b"), "old b")
  return { root, at, text: (name) => fs.readFileSync(at(name), "utf8"), before: treeOf(root) }
})

const fileLocks = Layer.unwrapScoped(Effect.map(temporaryFolder, (folder) => FileLock.layer({ folder })))

/** Runs a test with a root and with locks of its own, as in a process of its own. */
export const inRoot = <A, E>(use: (root: Root) => Effect.Effect<A, E, Lock.Lock>) =>
  Effect.scoped(Effect.flatMap(makeRoot, (root) => Effect.provide(use(root), fileLocks)))

/** Runs a program with locks of its own, as one that was configured differently: no lock keeps it and others apart. */
export const withOtherLocks = <A, E>(self: Effect.Effect<A, E, Lock.Lock>) =>
  Effect.promise(() => Effect.runPromiseExit(Effect.provide(self, fileLocks).pipe(Effect.scoped)))

/** Leaves the root as a process that was killed after its changes. */
export const leaveBehind = (
  { at, root }: Root,
  changes: Effect.Effect<unknown, unknown, FileTransaction.FileTransaction>
) =>
  Effect.gen(function* () {
    const copy = yield* temporaryFolder
    yield* Effect.zipRight(
      changes,
      Effect.sync(() => fs.cpSync(root, copy, { recursive: true, preserveTimestamps: true }))
    ).pipe(FileTransaction.run(root), Effect.provideService(CurrentCalls, { ...nodeCalls, thisProcess: deadProcess }))
    for (const name of fs.readdirSync(root)) fs.rmSync(at(name), { recursive: true })
    fs.cpSync(copy, root, { recursive: true })
  })

/** Locks that every caller acquires, and that the test can make lost. */
export const losableLocks = () => {
  const state = { isLost: false }
  const grip = { token: 1, renew: Effect.sync(() => !state.isLost), release: Effect.sync(() => !state.isLost) }
  const locks = Lock.make({
    keyOf: (name) => Effect.succeed(Lock.format(name)),
    attempt: () => Effect.succeed({ _tag: "Acquired", grip }),
    status: (lock) => Effect.succeed({ lock, state: "held", token: 1, owner: "a", since: 0 }),
    list: Effect.succeed([]),
    cleanup: () => Effect.succeed(0),
    heartbeat: "1 hour",
    patience: "2 hours",
    poll: "10 millis"
  })
  const lose = Effect.sync(() => {
    state.isLost = true
  })
  return { lose, layer: Layer.succeed(Lock.Lock, locks) }
}

/** "success", the tag of the failure, or the defect in words. */
export const tagOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.match(exit, {
    onSuccess: () => "success",
    onFailure: (cause) =>
      Option.match(Cause.failureOption(cause), {
        onNone: () => Cause.pretty(cause),
        onSome: (error) => (error as { readonly _tag: string })._tag
      })
  })

export const reasonOf = (error: unknown): string => (error as { readonly reason: string }).reason

/** Runs as an unprivileged user if the tests run as root, and gives that user the files. */
export const unprivileged = <A, E, R>(root: string, self: Effect.Effect<A, E, R>) => {
  if (process.getuid?.() !== 0) return self
  const give = (at: string) => {
    fs.lchownSync(at, 65534, 65534)
    if (fs.lstatSync(at).isDirectory()) for (const name of fs.readdirSync(at)) give(path.join(at, name))
  }
  const become = (id: number) =>
    Effect.sync(() => {
      // Only root may change its group.
      process.seteuid?.(0)
      process.setegid?.(id)
      process.seteuid?.(id)
    })
  return Effect.acquireUseRelease(
    Effect.zipRight(
      Effect.sync(() => give(root)),
      become(65534)
    ),
    () => self,
    () => become(0)
  )
}
