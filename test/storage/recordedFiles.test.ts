import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Signal, Step, Workflow } from "effect-recovery"
import { RecoveryManager, StorageCheck } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"
import { connect } from "../support/drivers.js"
import { temporaryFile } from "../support/files.js"

class Bad extends Schema.TaggedError<Bad>()("Bad", { why: Schema.String }) {}

const Go = Signal.make("go", Schema.Number)

/** Each file of recorded/ was written by the library as it was, and is a dump of its tables. */
const versions = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]

/** Runs could wait from version 3 on. */
const canWait = (version: number) => version >= 3

const recorded = (version: number) =>
  Effect.tap(temporaryFile(`version-${version}.db`), (filename) =>
    Effect.acquireUseRelease(
      Effect.sync(() => connect(filename)),
      (connection) =>
        Effect.sync(() => {
          const dump = fs.readFileSync(new URL(`recorded/version-${version}.sql`, import.meta.url), "utf8")
          connection.exec(`PRAGMA journal_mode = WAL; ${dump}`)
        }),
      (connection) => Effect.sync(() => connection.close())
    )
  )

/** The workflows that wrote the files. `stops` died after its step then, and has another one now. */
const program = () => {
  const ran: Array<string> = []
  const step = (name: string) =>
    Step.make(name, {
      success: Schema.String,
      run: Effect.sync(() => {
        ran.push(name)
        return name
      })
    })
  return {
    ran,
    Done: Workflow.make("done", { input: Schema.Number, success: Schema.String }, (n) =>
      Effect.map(step("one"), (one) => `${one}${n}`)
    ),
    Fails: Workflow.make("fails", { error: Bad }, () => Effect.zipRight(step("one"), new Bad({ why: "no" }))),
    Stops: Workflow.make("stops", { success: Schema.String }, () => Effect.zipRight(step("one"), step("two"))),
    Waits: Workflow.make("waits", { success: Schema.Number }, () =>
      Effect.zipRight(step("one"), Effect.zipLeft(Go.wait(), step("two")))
    )
  }
}

describe.each(versions)("a file that the library of tables %i has written", (version) => {
  it.scopedLive("is migrated, and its runs have their outcomes, or continue where they were", () =>
    Effect.gen(function* () {
      const filename = yield* recorded(version)
      const { Done, Fails, Stops, Waits, ran } = program()
      yield* Effect.gen(function* () {
        const statuses = (yield* Workflow.list()).map(({ id, status }) => `${id} ${status}`).reverse()
        const waiting = ["waits suspended", "answered stopped"]
        assert.deepStrictEqual(statuses, [
          "done completed",
          "fails failed",
          "stops stopped",
          ...(canWait(version) ? waiting : [])
        ])
        const ofTenant = yield* Workflow.list({ labels: { tenant: "acme" } })
        assert.deepStrictEqual(
          ofTenant.map(({ id }) => id),
          ["stops", "done"]
        )
        assert.strictEqual(yield* Workflow.execute(Done, { id: "done", input: 7 }), "one7")
        assert.deepStrictEqual(yield* Effect.flip(Workflow.execute(Fails, { id: "fails" })), new Bad({ why: "no" }))
        assert.deepStrictEqual(ran, [])
        assert.strictEqual(yield* Workflow.execute(Stops, { id: "stops" }), "two")
        assert.deepStrictEqual(ran, ["two"])
        if (canWait(version)) {
          assert.strictEqual(yield* Workflow.execute(Waits, { id: "answered" }), 5)
          assert.strictEqual((yield* Effect.flip(Workflow.execute(Waits, { id: "waits" })))._tag, "RunSuspended")
          yield* Go.send("waits", 6)
          assert.strictEqual(yield* Workflow.execute(Waits, { id: "waits" }), 6)
          assert.deepStrictEqual(ran, ["two", "two", "two"])
        }
        assert.deepStrictEqual((yield* StorageCheck.run).findings, [])
      }).pipe(Effect.provide(RecoveryManager.layer({})), Effect.provide(SqliteStorage.layer({ filename })))
    })
  )
})
