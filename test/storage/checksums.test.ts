import * as zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Checkpoint, Signal, Step, Storage, Worker, Workflow } from "effect-recovery"
import { RecoveryManager } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"
import { crc32InJavaScript } from "../../src/storage/checksum.js"
import { connect, storable } from "../support/drivers.js"
import { temporaryFile } from "../support/files.js"
import { toVersion8 } from "../support/olderFiles.js"

const Go = Signal.make("go", Schema.String)
const Progress = Checkpoint.make("progress", { schema: Schema.Number })
const long = "long ".repeat(200)

const steps = Effect.gen(function* () {
  const price = yield* Step.make("price", { success: Schema.Number, run: Effect.succeed(7_000) })
  yield* Progress.save(price)
  const report = yield* Step.make("report", { success: Schema.String, run: Effect.succeed(long) })
  const go = yield* Go.wait()
  return `${price} ${report.length} ${go}`
})

const Order = Workflow.make("order", { input: Schema.String, success: Schema.String }, () => steps)

const execute = (id: string) => Workflow.execute(Order, { id, input: "book", labels: { shop: "north" } })

/** A file with the run "waiting", whose signal is stored, and the run "done". */
const prepared = Effect.gen(function* () {
  const filename = yield* temporaryFile("runs.db")
  const layer = SqliteStorage.layer({ filename, durability: "process-crash" })
  yield* Effect.gen(function* () {
    for (const id of ["waiting", "done"]) {
      yield* Effect.flip(execute(id))
      yield* Go.send(id, "now")
    }
    yield* execute("done")
  }).pipe(Effect.provide(layer))
  const other = yield* Effect.acquireRelease(
    Effect.sync(() => connect(filename)),
    (database) => Effect.sync(() => database.close())
  )
  return { layer, other }
})

const right = "7000 1000 now"

const damagedBy = (sql: string, use: Effect.Effect<unknown, unknown, Storage.Storage>) =>
  Effect.gen(function* () {
    const { layer, other } = yield* prepared
    assert.isAbove(other.prepare(sql).run().changes, 0)
    const error = yield* Effect.flip(Effect.provide(use, layer))
    assert.instanceOf(error, Storage.StorageError)
    assert.strictEqual(error.reason, "Damaged", error.message)
    return error.message
  })

describe("CRC-32", () => {
  it("is the same with and without the runtime's own", () => {
    const crc32 = crc32InJavaScript()
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary" }), (text) => crc32(text) === (zlib.crc32(text) | 0)),
      { seed: 1 }
    )
    assert.strictEqual(crc32("123456789") >>> 0, 0xcbf43926)
  })
})

describe("a damaged row", () => {
  const cases: ReadonlyArray<
    readonly [what: string, sql: string, use: Effect.Effect<unknown, unknown, Storage.Storage>, named: string]
  > = [
    [
      "a step's result",
      "UPDATE recovery_journal SET payload = '8000' WHERE step = 'price' AND kind = 'StepCompleted'",
      execute("waiting"),
      `line 2 (StepCompleted of "price") of run "waiting"`
    ],
    [
      "a long result, which is read when it is needed",
      "UPDATE recovery_journal SET payload = replace(payload, 'g l', 'g L') WHERE step = 'report'",
      execute("waiting"),
      `(StepCompleted of "report") of run "waiting"`
    ],
    [
      "the name of a step",
      "UPDATE recovery_journal SET step = 'prize' WHERE step = 'price'",
      Workflow.status("waiting"),
      `of "prize") of run "waiting"`
    ],
    [
      "the time of a long line",
      "UPDATE recovery_journal SET at = at + 1 WHERE step = 'report' AND kind = 'StepCompleted'",
      Workflow.status("waiting"),
      `(StepCompleted of "report") of run "waiting"`
    ],
    [
      "a line of another run",
      `UPDATE recovery_journal SET run = (SELECT key FROM recovery_runs WHERE id = 'waiting'), seq = 99
       WHERE rowid = (SELECT MAX(rowid) FROM recovery_journal)`,
      Workflow.status("waiting"),
      `line 99 (`
    ],
    [
      "a missing line",
      "DELETE FROM recovery_journal WHERE step = 'price' AND kind = 'StepCompleted'",
      execute("waiting"),
      `line 2 before it is missing`
    ],
    ["an input", "UPDATE recovery_runs SET input = '\"look\"'", execute("waiting"), `run "waiting"`],
    [
      "an outcome",
      "UPDATE recovery_runs SET exit = '\"7001 1000 now\"' WHERE id = 'done'",
      execute("done"),
      `run "done"`
    ],
    [
      "a status",
      "UPDATE recovery_runs SET status = NULL, exit = NULL, finished_at = NULL WHERE id = 'done'",
      execute("done"),
      `run "done"`
    ],
    [
      "a signal",
      `UPDATE recovery_signals SET payload = '{"value":"never"}'`,
      execute("waiting"),
      `signal "@go" of run "waiting"`
    ],
    ["a checkpoint", "UPDATE recovery_snapshots SET step = 'x'", Progress.latest({ run: "done" }), "checkpoint"],
    [
      "a rewound checkpoint",
      "UPDATE recovery_snapshots SET rewound = 1",
      Progress.latest({ run: "done", rewound: true }),
      "checkpoint"
    ],
    [
      "text that became bytes",
      "UPDATE recovery_journal SET payload = CAST(payload AS BLOB) WHERE step = 'price'",
      execute("waiting"),
      `of run "waiting"`
    ]
  ]

  for (const [what, sql, use, named] of cases) {
    it.scopedLive(`${what}: is a typed error that names the row`, () =>
      Effect.map(damagedBy(sql, use), (message) => {
        assert.include(message, named)
        assert.include(message, "recovery check")
      })
    )
  }

  it.scopedLive("at the end of a journal that was cut off: the run continues from an older state", () =>
    Effect.gen(function* () {
      const { layer, other } = yield* prepared
      other.exec("DELETE FROM recovery_journal WHERE seq > 2")
      assert.strictEqual(yield* Effect.provide(execute("waiting"), layer), right)
    })
  )

  it.scopedLive("in a list: is marked, and hides no other row", () =>
    Effect.gen(function* () {
      const { layer, other } = yield* prepared
      other.exec("UPDATE recovery_runs SET labels = '{}' WHERE id = 'done'")
      other.exec("UPDATE recovery_snapshots SET about = '{\"a\":1}' WHERE run = 'done'")
      yield* Effect.gen(function* () {
        const [done, waiting] = yield* Workflow.list()
        assert.match(done?.labels["damaged"] ?? "", /checksum/)
        assert.deepStrictEqual(waiting?.labels, { shop: "north" })
        const found = yield* Progress.list({ run: "any" })
        assert.deepStrictEqual(
          found.map(({ metadata, run }) => [run, "damaged" in metadata]),
          [
            ["done", true],
            ["waiting", false]
          ]
        )
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("of a record: is RecordDamaged with its id", () =>
    Effect.gen(function* () {
      const { layer, other } = yield* prepared
      const manager = Layer.provideMerge(RecoveryManager.layer({}), layer)
      yield* Effect.provide(RecoveryManager.report("disk is full", { id: "f1", labels: {} }), manager)
      other.exec(`UPDATE recovery_records SET body = replace(body, 'full', 'null')`)
      const error = yield* Effect.flip(Effect.provide(RecoveryManager.failures(), manager))
      assert.strictEqual(error._tag, "RecordDamaged")
      assert.include(error.message, "f1")
      const one = yield* Effect.flip(Effect.provide(RecoveryManager.failure("f1"), manager))
      assert.include(one.message, "f1")
    })
  )

  it.scopedLive("stops its own run only: the worker continues with the others", () =>
    Effect.gen(function* () {
      const { layer, other } = yield* prepared
      yield* Effect.provide(Workflow.start(Order, { id: "fresh", input: "book" }), layer)
      yield* Effect.provide(Go.send("fresh", "now"), layer)
      other.exec("UPDATE recovery_runs SET input = '\"look\"' WHERE id = 'waiting'")
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* Workflow.join(Order, "fresh"), right)
        const { health } = yield* Worker.Worker
        const { status, stuck } = yield* health
        assert.strictEqual(status, "ok")
        assert.match(stuck.find(({ run }) => run === "waiting")?.reason ?? "", /its checksum is not/)
      }).pipe(Effect.provide(Worker.layer([Order]).pipe(Layer.provideMerge(layer))))
    })
  )
})

describe("rows of before there were checksums", () => {
  it.scopedLive("are read, and what is written after them has checksums", () =>
    Effect.gen(function* () {
      const { layer, other } = yield* prepared
      other.exec(`UPDATE recovery_journal SET checksum = NULL, payload_checksum = NULL, previous = NULL;
        UPDATE recovery_runs SET checksum = NULL, outcome_checksum = NULL;
        UPDATE recovery_signals SET checksum = NULL;
        UPDATE recovery_snapshots SET checksum = NULL`)
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* execute("waiting"), right)
        assert.strictEqual(yield* execute("done"), right)
        assert.strictEqual(Option.getOrThrow(yield* Progress.latest({ run: "done" })).state, 7_000)
        assert.strictEqual((yield* Workflow.status("waiting")).status, "completed")
      }).pipe(Effect.provide(layer))
      const checked = other.prepare("SELECT COUNT(*) AS n FROM recovery_journal WHERE checksum IS NOT NULL").get()
      assert.deepStrictEqual(checked, { n: 1 })
    })
  )

  it.scopedLive("are in files of an older version, which are migrated", () =>
    Effect.gen(function* () {
      const { layer, other } = yield* prepared
      other.exec(`${toVersion8} DROP TABLE recovery_labels; DROP TRIGGER recovery_labels_insert; DROP TRIGGER recovery_labels_delete;
        DROP INDEX recovery_snapshots_own; ALTER TABLE recovery_snapshots DROP COLUMN own;
        ALTER TABLE recovery_runs DROP COLUMN exhausted`)
      const columns = ["runs checksum", "runs outcome_checksum", "journal checksum", "journal payload_checksum"]
      for (const column of [
        ...columns,
        "journal previous",
        "signals checksum",
        "snapshots checksum",
        "records checksum"
      ])
        other.exec(`ALTER TABLE recovery_${column.replace(" ", " DROP COLUMN ")}`)
      other.exec("DELETE FROM effect_recovery_migrations WHERE migration_id > 5")
      assert.strictEqual(yield* Effect.provide(execute("waiting"), layer), right)
      assert.strictEqual(yield* Effect.provide(execute("done"), layer), right)
    })
  )
})

describe("checkpoints of before labels had an index", () => {
  it.scopedLive("are found by their labels after the migration", () =>
    Effect.gen(function* () {
      const { layer, other } = yield* prepared
      const labels = { author: "ada", "a'b": `"` }
      const { id } = yield* Effect.provide(Progress.save(1, { labels }), layer)
      other.exec(`${toVersion8} DROP TABLE recovery_labels; DROP TRIGGER recovery_labels_insert; DROP TRIGGER recovery_labels_delete;
        DROP INDEX recovery_snapshots_own; ALTER TABLE recovery_snapshots DROP COLUMN own;
        ALTER TABLE recovery_runs DROP COLUMN exhausted;
        UPDATE recovery_snapshots SET labels = '{"author"' WHERE run = 'done';
        DELETE FROM effect_recovery_migrations WHERE migration_id > 6`)
      yield* Effect.gen(function* () {
        const found = yield* Checkpoint.list({ labels })
        assert.deepStrictEqual(
          found.map((info) => info.id),
          [id]
        )
        assert.strictEqual(Option.getOrThrow(yield* Progress.latest({ labels })).state, 1)
        assert.strictEqual(yield* Checkpoint.remove({ labels: { author: "ada" } }), 1)
        assert.deepStrictEqual(other.prepare("SELECT * FROM recovery_labels").all(), [])
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("a damaged row of the label index", () => {
  const labels = { author: "ada", tag: "draft" }

  const damaged = (sql: (key: string) => string, use: (key: string) => Effect.Effect<void, unknown, Storage.Storage>) =>
    Effect.gen(function* () {
      const { layer, other } = yield* prepared
      yield* Effect.gen(function* () {
        yield* Progress.save(1, { labels })
        // The last one: the next millisecond's numbers are free.
        const { id } = yield* Progress.save(2, { labels: { author: "bob" } })
        assert.isAbove(other.prepare(sql(id)).run().changes, 0)
        yield* use(id)
      }).pipe(Effect.provide(layer))
    })

  const refused = (use: Effect.Effect<unknown, unknown, Storage.Storage>) =>
    Effect.map(Effect.flip(use), (error) => {
      assert.instanceOf(error, Storage.StorageError)
      assert.strictEqual(error.reason, "Damaged", error.message)
      assert.match(error.message, /the labels of checkpoint "progress"/)
    })

  const checked = (problem: RegExp) =>
    Effect.flatMap(Storage.Storage, ({ check }) =>
      Effect.map(check, (found) => {
        assert.strictEqual(found.length, 1)
        assert.match(`${found[0]?.what}: ${found[0]?.problem}`, problem)
      })
    )

  it.scopedLive("that leads to another checkpoint is refused by whatever finds it, and nothing is removed", () =>
    damaged(
      () => "UPDATE recovery_labels SET value = 'ada' WHERE value = 'bob'",
      () =>
        Effect.gen(function* () {
          yield* refused(Checkpoint.list({ labels: { author: "ada" } }))
          yield* refused(Progress.latest({ labels: { author: "ada" } }))
          yield* refused(Checkpoint.remove({ labels: { author: "ada" } }))
          yield* refused(Checkpoint.cleanup({ labels: { author: "ada" }, keep: 1 }))
          assert.strictEqual((yield* Progress.list()).length, 2)
          yield* Effect.flatMap(Storage.Storage, ({ check }) =>
            Effect.map(check, (found) =>
              assert.deepStrictEqual(
                found.map(({ problem }) => problem),
                ["the index of labels has one that the checkpoint has not", "the index of labels lacks one of them"]
              )
            )
          )
        })
    )
  )

  it.scopedLive("that is missing is found by the check", () =>
    damaged(
      () => "DELETE FROM recovery_labels WHERE value = 'draft'",
      () => checked(/labels of checkpoint "progress" .* lacks one of them/)
    )
  )

  it.scopedLive("that leads nowhere is found by the check, and keeps no checkpoint from being saved", () =>
    damaged(
      (id) => `INSERT INTO recovery_labels SELECT 'author', 'eve', (${id} / 1000 + n) * 1000
        FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10) SELECT n FROM c)`,
      (id) =>
        Effect.gen(function* () {
          const storage = yield* Storage.Storage
          const found = yield* storage.check
          assert.strictEqual(found.length, 10)
          assert.match(found[0]?.what ?? "", /^labels of checkpoint \d+$/)
          const [info] = yield* storage.fullSnapshots({
            name: "progress",
            after: Number(id) - 1,
            order: "oldest",
            limit: 1
          })
          const at = Math.floor(Number(id) / 1_000) + 1
          const { key: _, rewound: __, ...snapshot } = info ?? assert.fail()
          // Its number is that of a row of the index.
          yield* storage.save({ ...snapshot, labels: { author: "eve" }, at }, {})
          assert.strictEqual((yield* storage.snapshots({ labels: { author: "eve" } })).length, 1)
        })
    )
  )
})

describe("checksums", () => {
  it.scopedLive("fit what SQLite returns for every text", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const store = yield* SqliteStorage.store({ filename, durability: "process-crash" })
      const opened = yield* store.open({ id: "r", workflow: "w", version: "", input: "", labels: {} }, "a", 1_000)
      const lease = "lease" in opened ? opened.lease : assert.fail()
      const text = FastCheck.string({ unit: "binary", maxLength: 400 })
      const texts = FastCheck.sample(FastCheck.tuple(text, text), { seed: 1, numRuns: 300 })
      const line = { kind: "k", attempt: 0, at: 1 }
      // Half surrogate pairs, too, and an odd time.
      const odd = [
        { ...line, seq: 1_001, step: "\ud83d", payload: `${"x".repeat(300)}\udc00` },
        { ...line, seq: 1_002, step: "\0", payload: "\0", at: 1.5 }
      ]
      const all = [...texts.map(([step, payload], i) => ({ ...line, seq: i + 1, step, payload })), ...odd]
      yield* store.append(
        lease,
        all.map((one) => ({ ...one, step: storable(one.step), payload: storable(one.payload) }))
      )
      assert.strictEqual((yield* store.journal(lease.key)).length, 302)
      assert.strictEqual((yield* store.journal(lease.key, 100)).length, 302)
      yield* store.payload(lease.key, 1_001)
    })
  )

  it.scopedLive("fit lines that were written in another order than that of their numbers", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const store = yield* SqliteStorage.store({ filename, durability: "process-crash" })
      const opened = yield* store.open({ id: "r", workflow: "w", version: "", input: "", labels: {} }, "a", 1_000)
      const lease = "lease" in opened ? opened.lease : assert.fail()
      for (const seq of [2, 1, 3, 6, 5, 9]) {
        yield* store.append(lease, [{ seq, kind: "k", step: "", attempt: 0, at: 1, payload: undefined }])
      }
      assert.deepStrictEqual(
        (yield* store.journal(lease.key)).map(({ seq }) => seq),
        [1, 2, 3, 5, 6, 9]
      )
    })
  )

  it.scopedLive("fit after a refused write, a transaction of the program and a rewind", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const store = yield* SqliteStorage.store({ filename, durability: "process-crash" })
      const open = (id: string) =>
        Effect.map(store.open({ id, workflow: "w", version: "", input: "", labels: {} }, id, 1_000), (opened) =>
          "lease" in opened ? opened.lease : assert.fail()
        )
      const [a, b] = [yield* open("a"), yield* open("b")]
      const line = (seq: number) => ({ seq, kind: "k", step: "", attempt: 0, at: 1, payload: undefined })
      yield* store.append(a, [line(1)])
      // Both writes share a transaction at first, which the second one's number fails.
      const together = [store.append(a, [line(2)]), Effect.flip(store.append(b, [line(1), line(1)]))]
      yield* Effect.all(together, { concurrency: "unbounded" })
      yield* store.append(b, [line(2)])
      yield* store.append(a, [line(3)])
      yield* store.transactional(a, Effect.succeed([undefined, [line(4)]] as const))
      const undone = store.transactional(a, Effect.fail("undone"))
      assert.strictEqual(yield* Effect.flip(undone), "undone")
      yield* store.append(a, [line(5)])
      yield* store.rewind(a, line(6), { after: 5, within: "" })
      yield* store.append(a, [line(7)])
      const database = connect(filename, { readonly: true })
      const chain = database.prepare("SELECT run, previous FROM recovery_journal ORDER BY run, seq").raw(true).all()
      database.close()
      const expected = [null, 1, 2, 3, 4, 5, 6].map((previous) => [a.key, previous])
      assert.deepStrictEqual(chain, [...expected, [b.key, null]])
    })
  )
})
