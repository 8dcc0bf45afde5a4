import * as childProcess from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Storage, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { isGone, makeOwner } from "../../src/host/owner.js"
import { makeSqliteStore } from "../../src/storage/sqlite/SqliteStore.js"
import { temporaryFile } from "../support/files.js"

const replacePid = (owner: string, pid: number) => owner.replace(/\/\d+@/, `/${pid}@`)

const deadPid = (): number => childProcess.spawnSync(process.execPath, ["-e", ""]).pid

describe("the owner of a lease", () => {
  it.effect("is gone only if that is certain", () =>
    Effect.gen(function* () {
      const own = yield* makeOwner
      assert.isFalse(isGone(own))
      assert.isTrue(isGone(replacePid(own, deadPid())))
      // The number lives, but of another process; only Linux tells when a process was started.
      assert.strictEqual(isGone(own.replace(/@[^/]+/, "@1")), process.platform === "linux")
      // Another host, another boot, another container, or no owner of ours at all.
      for (const strange of [
        `elsewhere${replacePid(own, deadPid())}`,
        "process-1",
        "",
        "a/b@c",
        "//",
        own.split("/")[0] ?? ""
      ]) {
        assert.isFalse(isGone(strange), strange)
      }
    })
  )

  it.scoped("a run of a dead process is stopped at once", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const client = yield* Layer.build(SqliteClient.layer({ filename }))
      const { database, sql, writer } = Context.get(client, SqliteClient.SqliteClient)
      const storage = yield* Layer.build(Layer.provide(SqliteStorage.layerClient(), Layer.succeedContext(client)))
      const owner = replacePid(yield* makeOwner, deadPid())
      const dead = yield* Storage.make(makeSqliteStore({ client: sql, database, writer, isGone }), {
        owner,
        lease: "1 hour"
      })
      const request = { id: "run", workflow: "w", version: "1", input: "", labels: {} }
      yield* Effect.uninterruptibleMask((restore) => dead.open(request, restore))
      const look = Effect.all([
        Workflow.status("run"),
        Workflow.list({ status: "stopped" }),
        Workflow.list({ status: "running" })
      ])
      const [status, stopped, running] = yield* Effect.provide(look, storage)
      assert.strictEqual(status.status, "stopped")
      assert.deepStrictEqual([stopped.length, running.length], [1, 0])
    })
  )
})
