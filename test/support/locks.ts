import * as fs from "node:fs"
import * as path from "node:path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Lock, Lock as LockModule, Storage } from "effect-recovery"
import { DirectoryLock, FileLock } from "effect-recovery/files"
import { SqliteStorage } from "effect-recovery/sqlite"

export interface Kind {
  readonly name: string
  /** The locks of a folder as a further process sees them. A short lease makes heartbeats fast. */
  readonly join: (folder: string, lease?: Duration.DurationInput) => Layer.Layer<Lock.Lock, unknown>
  /** Takes the lock from its holder, as an accident or a takeover would. */
  readonly steal: (folder: string, lock: Lock.Name) => Effect.Effect<void, unknown>
}

const placeOf = (folder: string, { id, kind }: Lock.Name) => path.join(folder, "locks", kind, `${id}.lock`)

const stores = new Map<string, Storage.Store>()
let processes = 0

/** One store per folder. */
const storeOf = (folder: string): Storage.Store => {
  const store = stores.get(folder) ?? Storage.memoryStore()
  stores.set(folder, store)
  return store
}

const memory: Kind = {
  name: "Lock.layerStorage, memory",
  join: (folder, lease) =>
    Layer.provide(
      LockModule.layerStorage({ poll: "20 millis" }),
      Layer.scoped(Storage.Storage, Storage.make(storeOf(folder), { owner: `process-${++processes}`, lease }))
    ),
  steal: (folder, lock) =>
    Effect.asVoid(
      Effect.flatMap(ownerOf(folder, lock), (owner) => storeOf(folder).unlock(LockModule.format(lock), owner))
    )
}

const ownerOf = (folder: string, lock: Lock.Name) =>
  Effect.map(storeOf(folder).locks, (rows) => rows.find(({ name }) => name === LockModule.format(lock))?.owner ?? "")

const sqlite: Kind = {
  name: "Lock.layerStorage, SQLite",
  join: (folder, lease) =>
    Layer.provide(
      LockModule.layerStorage({ poll: "20 millis" }),
      SqliteStorage.layer({ filename: path.join(folder, "locks.db"), durability: "process-crash", lease })
    ),
  steal: (folder, lock) =>
    Effect.scoped(
      Effect.gen(function* () {
        const store = yield* SqliteStorage.store({ filename: path.join(folder, "locks.db") })
        const rows = yield* store.locks
        yield* store.unlock(
          LockModule.format(lock),
          rows.find(({ name }) => name === LockModule.format(lock))?.owner ?? ""
        )
      })
    )
}

const file: Kind = {
  name: "FileLock",
  join: (folder, lease) =>
    FileLock.layer({
      folder: path.join(folder, "locks"),
      heartbeat: lease === undefined ? "5 seconds" : Duration.times(lease, 1 / 4)
    }),
  steal: (folder, lock) => Effect.sync(() => fs.rmSync(placeOf(folder, lock)))
}

const directory: Kind = {
  name: "DirectoryLock",
  join: (folder, lease) =>
    DirectoryLock.layer({ folder: path.join(folder, "locks"), stale: lease ?? "30 seconds", poll: "20 millis" }),
  steal: (folder, lock) => Effect.sync(() => fs.rmSync(placeOf(folder, lock), { recursive: true }))
}

export const kinds: ReadonlyArray<Kind> = [memory, sqlite, file, directory]
