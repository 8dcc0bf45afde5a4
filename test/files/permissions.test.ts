import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { AtomicFile, Backup, FileLock, FileTransaction, JsonLog } from "effect-recovery/files"
import { temporaryFolder } from "../support/files.js"

/** Every file with a content below a folder, with its mode. */
const modesBelow = (folder: string): ReadonlyArray<readonly [name: string, mode: number]> =>
  fs.readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => {
    const at = path.join(entry.parentPath, entry.name)
    const stats = fs.statSync(at)
    // Locks may be shared by programs of several users. They say no more than which process has them.
    return stats.isFile() && stats.size > 0 && !at.endsWith(".lock")
      ? [[path.relative(folder, at), stats.mode & 0o777] as const]
      : []
  })

const withoutUmask = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => process.umask(0)),
    () => self,
    (before) => Effect.sync(() => process.umask(before))
  )

describe("Without a umask", () => {
  it.scopedLive("copies of files, logs and journals of transactions can be read by their owner alone", () =>
    withoutUmask(
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const secret = path.join(folder, "secret.json")
        yield* AtomicFile.write(secret, "old", { mode: 0o600 })
        yield* Backup.take(secret)
        const log = JsonLog.make(path.join(folder, "log.jsonl"), { maxBytes: 10 })
        for (let i = 0; i < 3; i++) yield* log.append({ i })
        let during: ReturnType<typeof modesBelow> = []
        const change = Effect.gen(function* () {
          yield* FileTransaction.write("secret.json", "new")
          yield* FileTransaction.write("new.json", "new", { mode: 0o600 })
          during = modesBelow(folder)
        })
        yield* change.pipe(
          FileTransaction.run(folder),
          Effect.provide(FileLock.layer({ folder: path.join(folder, "locks") }))
        )
        const open = [...during, ...modesBelow(folder)].filter(([, mode]) => (mode & 0o077) !== 0)
        assert.deepStrictEqual(open, [])
        assert.isAtLeast(during.length, 6)
      })
    )
  )
})
