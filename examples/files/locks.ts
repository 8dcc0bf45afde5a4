import * as fs from "node:fs"
import * as os from "node:os"
import { Effect, Layer } from "effect"
import { Lock, Storage } from "effect-recovery"
import { DirectoryLock, FileLock } from "effect-recovery/files"

const folder = fs.mkdtempSync(`${os.tmpdir()}/locks-`)

// What the lock protects can ask for it in its type: outside of a lock this does not compile.
const saveReport = Effect.gen(function* () {
  const { lock, token } = yield* Lock.Held
  // A store that keeps the highest token it has seen can refuse a holder that has lost the lock without knowing.
  return { lock, hasToken: token > 0 }
})

const nightly = saveReport.pipe(Lock.withLock(Lock.task("nightly-report"), { timeout: "10 seconds" }))

// Does not wait: if another process holds the lock, the effect does not run.
const unlessBusy = saveReport.pipe(Lock.withLockIfAvailable(Lock.task("nightly-report")))

// The program does not say which kind of lock it is; a layer does.
const onThisMachine = nightly.pipe(Effect.provide(FileLock.layer({ folder })))
const onAShare = nightly.pipe(Effect.provide(DirectoryLock.layer({ folder: `${folder}/share` })))
const inTheStorage = unlessBusy.pipe(Effect.provide(Layer.provide(Lock.layerStorage(), Storage.layerMemory)))

export const program = Effect.all([onThisMachine, onAShare, Effect.flatten(inTheStorage)])
