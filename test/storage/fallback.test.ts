import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer } from "effect"
import { Step, Storage, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { temporaryFolder } from "../support/files.js"

const greet = Step.make("greet", { run: Effect.void })
const Morning = Workflow.make("morning", {}, () => greet)

describe("a storage from the configuration", () => {
  it.scopedLive("uses the path of the environment, and names a missing setting", () =>
    Effect.gen(function* () {
      const filename = path.join(yield* temporaryFolder, "configured.db")
      const storage = SqliteStorage.layerConfig({ filename: Config.string("RECOVERY_DATABASE") })
      const provide = (entries: ReadonlyArray<readonly [string, string]>) =>
        Layer.provide(storage, Layer.setConfigProvider(ConfigProvider.fromMap(new Map(entries))))
      const run = Workflow.execute(Morning, { id: "monday" })
      yield* Effect.provide(run, provide([["RECOVERY_DATABASE", filename]]))
      const runs = yield* Effect.provide(Workflow.list(), SqliteStorage.layer({ filename }))
      assert.strictEqual(runs.length, 1)
      assert.match(String(yield* Effect.flip(Effect.provide(run, provide([])))), /RECOVERY_DATABASE/)
    })
  )
})

describe("a fallback storage", () => {
  it.scopedLive("is used only if the first storage cannot be opened", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const first = path.join(folder, "missing", "first.db")
      const second = path.join(folder, "second.db")
      // The line that docs/durable shows.
      const storage = SqliteStorage.layer({ filename: first }).pipe(
        Layer.orElse(() => SqliteStorage.layer({ filename: second }))
      )
      yield* Effect.provide(Workflow.execute(Morning, { id: "monday" }), storage)
      const ids = Effect.map(Workflow.list(), (all) => all.map(({ id }) => id))
      assert.deepStrictEqual(yield* Effect.provide(ids, SqliteStorage.layer({ filename: second })), ["monday"])
      const other = SqliteStorage.layer({ filename: path.join(folder, "third.db") }).pipe(
        Layer.orElse(() => SqliteStorage.layer({ filename: second }))
      )
      assert.deepStrictEqual(yield* Effect.provide(ids, other), [])
      const memory = SqliteStorage.layer({ filename: first }).pipe(Layer.orElse(() => Storage.layerMemory))
      assert.deepStrictEqual(yield* Effect.provide(ids, memory), [])
    })
  )
})
