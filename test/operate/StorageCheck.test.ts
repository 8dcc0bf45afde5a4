import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Checkpoint, Step, Storage, Workflow } from "effect-recovery"
import { Operator, RecoveryManager, StorageCheck } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"
import { connect } from "../support/drivers.js"
import { temporaryFile } from "../support/files.js"

const Progress = Checkpoint.make("progress", { schema: Schema.Number })

const Order = Workflow.make("order", { success: Schema.Number }, () =>
  Effect.gen(function* () {
    const price = yield* Step.make("price", { success: Schema.Number, run: Effect.succeed(7) })
    yield* Progress.save(price)
    return price
  })
)

const fill = Effect.gen(function* () {
  yield* Effect.forEach(["one", "two", "three"], (id) => Workflow.execute(Order, { id }))
  yield* RecoveryManager.report("disk is full", { id: "f1", labels: {} })
})

const withManager = <E>(storage: Layer.Layer<Storage.Storage, E>) =>
  Layer.provideMerge(RecoveryManager.layer({}), storage)

const filled = Effect.gen(function* () {
  const filename = yield* temporaryFile("runs.db")
  const layer = withManager(SqliteStorage.layer({ filename, durability: "process-crash" }))
  yield* Effect.provide(fill, layer)
  return { filename, layer }
})

const damage = (filename: string, sql: string) =>
  Effect.sync(() => {
    const database = connect(filename)
    database.exec("PRAGMA foreign_keys = OFF")
    database.exec(sql)
    database.close()
  })

const unchecked = "UPDATE recovery_journal SET checksum = NULL, payload_checksum = NULL, previous = NULL;"

describe("StorageCheck", () => {
  it.scopedLive("finds nothing in an undamaged storage, in memory and in a file", () =>
    Effect.gen(function* () {
      const inMemory = Effect.zipRight(fill, StorageCheck.run)
      const memory = yield* Effect.provide(inMemory, withManager(Storage.layerMemory))
      assert.deepStrictEqual(memory, { runs: 3, lines: 9, checkpoints: 3, records: 1, findings: [] })
      const { layer } = yield* filled
      assert.deepStrictEqual(yield* Effect.provide(StorageCheck.run, layer), memory)
    })
  )

  const cases: ReadonlyArray<readonly [what: string, sql: string, found: RegExp]> = [
    [
      "a changed line",
      "UPDATE recovery_journal SET payload = '8' WHERE run = 2 AND payload = '7'",
      /two line 2 \(StepCompleted of "price"\) its checksum/
    ],
    [
      "a missing line",
      "DELETE FROM recovery_journal WHERE run = 2 AND seq = 2",
      /two line 3 .* line 2 before it is missing/
    ],
    ["a changed input", "UPDATE recovery_runs SET input = '1' WHERE id = 'two'", /two the run its checksum/],
    ["a changed outcome", "UPDATE recovery_runs SET exit = '8' WHERE id = 'two'", /two the run its checksum/],
    [
      "a changed checkpoint",
      "UPDATE recovery_snapshots SET about = '{\"a\":1}' WHERE run = 'two'",
      /two checkpoint "progress" .* its checksum/
    ],
    [
      "a changed state",
      "UPDATE recovery_snapshots SET state = '8' WHERE run = 'two'",
      /two checkpoint "progress" .* digest/
    ],
    ["a changed record", "UPDATE recovery_records SET status = 'resolved'", /the record of failure "f1" its checksum/],
    [
      "a record that cannot be decoded",
      "UPDATE recovery_records SET body = '{', checksum = NULL",
      /the record of failure "f1" .*cannot be decoded/
    ],
    [
      "a line that cannot be decoded",
      `${unchecked} UPDATE recovery_journal SET payload = '{' WHERE run = 2 AND kind = 'CheckpointSaved'`,
      /two the journal .*journal line 3/
    ],
    ["lines without a run", "DELETE FROM recovery_runs WHERE id = 'two'", /3 lines their run is not stored/],
    ["a lock of another type", "INSERT INTO recovery_locks VALUES ('l', x'00', NULL, 1, NULL)", /lock "l" a column/]
  ]
  it.scopedLive("finds nothing in a line of a newer version: restoring a backup would lose its run", () =>
    Effect.gen(function* () {
      const { filename, layer } = yield* filled
      yield* damage(filename, `${unchecked} UPDATE recovery_journal SET kind = 'Teleported' WHERE run = 2 AND seq = 3`)
      const { unread } = yield* Effect.provide(Workflow.status("two"), layer)
      assert.strictEqual(unread[0]?.kind, "Teleported")
      assert.deepStrictEqual((yield* Effect.provide(StorageCheck.run, layer)).findings, [])
    })
  )

  for (const [what, sql, expected] of cases) {
    it.scopedLive(`finds ${what}, and says what can be done`, () =>
      Effect.gen(function* () {
        const { filename, layer } = yield* filled
        yield* damage(filename, sql)
        const { findings } = yield* Effect.provide(StorageCheck.run, layer)
        const texts = findings.map(({ advice, problem, run = "", what }) => `${run} ${what} ${problem} ${advice}`)
        assert.isTrue(
          texts.some((text) => expected.test(text)),
          texts.join("\n")
        )
        // What is not damaged is not named.
        assert.isFalse(texts.some((text) => /one|three/.test(text.split(" ")[0] ?? "")))
        assert.isTrue(findings.every(({ advice }) => advice.length > 20))
      })
    )
  }

  it.scopedLive("finds an index that does not fit its table", () =>
    Effect.gen(function* () {
      const { filename, layer } = yield* filled
      yield* damage(filename, "PRAGMA wal_checkpoint(TRUNCATE)")
      const content = fs.readFileSync(filename)
      // The entry of the index is the shorter of the two places of the id.
      const places = [...content.toString("latin1").matchAll(/three/g)].map(({ index }) => index)
      let isFound = false
      for (const at of places) {
        const changed = Buffer.from(content)
        changed.write("thief", at, "latin1")
        fs.writeFileSync(filename, changed)
        const { findings } = yield* Effect.provide(StorageCheck.run, layer)
        assert.isAbove(findings.length, 0)
        isFound ||= findings.some(({ problem, what }) => what === "the file" && /index/.test(problem))
      }
      assert.isTrue(isFound)
    })
  )

  it.scopedLive("answers an operator with JSON", () =>
    Effect.gen(function* () {
      const { filename } = yield* filled
      yield* damage(filename, "UPDATE recovery_runs SET exit = '8' WHERE id = 'two'")
      const operator = Operator.define({ storage: SqliteStorage.layer({ filename }) })()
      const reply = yield* Effect.promise(() => operator.ask({ _tag: "Check" }))
      yield* Effect.promise(() => operator.close())
      assert.isTrue(reply.ok)
      if (!reply.ok) return
      assert.deepStrictEqual(
        reply.value.findings.map(({ run, what }) => [run, what]),
        [["two", "the run"]]
      )
    })
  )
})
