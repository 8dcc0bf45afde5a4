import * as fs from "node:fs"
import * as os from "node:os"
import { Effect, Option, Schema } from "effect"
import { AtomicFile, Backup, FileLock } from "effect-recovery/files"

const folder = fs.mkdtempSync(`${os.tmpdir()}/files-`)
const file = `${folder}/settings.json`

const Settings = Schema.parseJson(Schema.Struct({ theme: Schema.String, visits: Schema.Number }))

// Reads, changes and writes under the lock of the file: no update of another process is lost.
const visit = AtomicFile.update(file, (text) =>
  Effect.gen(function* () {
    const settings = yield* Schema.decode(Settings)(Option.getOrThrow(text))
    return yield* Schema.encode(Settings)({ ...settings, visits: settings.visits + 1 })
  })
)

export const program = Effect.gen(function* () {
  yield* AtomicFile.write(file, `{"theme":"dark","visits":0}`)
  yield* Effect.replicateEffect(visit, 10, { concurrency: "unbounded" })

  const backup = yield* Backup.take(file, { label: "before the migration" })
  yield* AtomicFile.write(file, "{half a migra")
  yield* Backup.restore(backup)
  yield* Backup.expire(file, { olderThan: "7 days", keep: 20 })

  return fs.readFileSync(file, "utf8")
}).pipe(Effect.provide(FileLock.layer({ folder: `${folder}/locks` })))
