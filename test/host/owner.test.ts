import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import { Storage, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { isGone, makeOwner } from "../../src/host/owner.js"
import { makeSqliteStore } from "../../src/storage/sqlite/SqliteStore.js"
import { temporaryFile } from "../support/files.js"
import { eventually } from "../support/time.js"

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

  it.scopedLive.skipIf(process.platform !== "linux")("is gone once it is a zombie", () =>
    Effect.gen(function* () {
      const own = yield* makeOwner
      // The shell becomes `sleep`, which does not reap the child it inherits.
      const parent = yield* Effect.acquireRelease(
        Effect.sync(() =>
          childProcess.spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const pid = yield* Effect.promise(
        () => new Promise<number>((resolve) => parent.stdout.once("data", (data) => resolve(Number(String(data)))))
      )
      const stat = Effect.sync(() => fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [])
      const fields = yield* eventually(stat, ([state]) => state === "Z")
      assert.isTrue(isGone(replacePid(own, pid).replace(/@[^/]+/, `@${fields[19]}`)))
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

  it.scoped("a lease that was acquired before the clock was set back ends when the file is opened", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const layer = SqliteStorage.layer({ filename })
      const day = 86_400_000
      yield* TestClock.setTime(2 * day)
      // The process never comes back to its run: it was on another host.
      const leave = Effect.gen(function* () {
        const client = yield* Layer.build(SqliteClient.layer({ filename }))
        const { database, sql, writer } = Context.get(client, SqliteClient.SqliteClient)
        yield* Layer.build(Layer.provide(SqliteStorage.layerClient(), Layer.succeedContext(client)))
        const other = yield* Storage.make(makeSqliteStore({ client: sql, database, writer, isGone }), { owner: "away" })
        const request = { id: "run", workflow: "w", version: "1", input: "", labels: {} }
        yield* Effect.uninterruptibleMask((restore) => other.open(request, restore))
      })
      yield* Effect.scoped(leave)
      yield* TestClock.setTime(day)
      const { status } = yield* Effect.provide(Workflow.status("run"), layer)
      assert.strictEqual(status, "stopped")
      yield* Effect.provide(
        Workflow.execute(
          Workflow.make("w", {}, () => Effect.void),
          { id: "run" }
        ),
        layer
      )
    })
  )
})
