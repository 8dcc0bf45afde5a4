import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Checkpoint, Storage, Workflow } from "effect-recovery"
import { recordingStore } from "../support/statements.js"

const Draft = Checkpoint.make("draft", { schema: Schema.Struct({ text: Schema.String }) })

const withService = (store: Storage.Store) =>
  Effect.provideServiceEffect(Storage.Storage, Storage.make(store, { owner: "process-1" }))

describe("statements of the store on SQLite", () => {
  it.scopedLive("a checkpoint is saved by one statement without BEGIN and COMMIT, and read by one", () =>
    Effect.gen(function* () {
      const { ran, store } = yield* recordingStore
      yield* Effect.gen(function* () {
        for (let i = 0; i < 5; i++) {
          ran.length = 0
          yield* Draft.save({ text: `draft ${i}` })
          assert.strictEqual(ran.length, 1, JSON.stringify(ran))
          ran.length = 0
          assert.strictEqual(Option.getOrThrow(yield* Draft.latest()).state.text, `draft ${i}`)
          assert.strictEqual(ran.length, 1, JSON.stringify(ran))
        }
      }).pipe(withService(store))
    })
  )

  it.scopedLive("numbers of checkpoints rise over all processes, also where one has a clock that is behind", () =>
    Effect.gen(function* () {
      const { open, store } = yield* recordingStore
      const { store: behind } = yield* open
      const at = yield* store.now
      const save = (to: Storage.Store, at: number) =>
        Effect.map(to.save({ ...snapshot, at }, {}), (key) => Option.getOrThrow(key))
      const keys: Array<number> = []
      for (let i = 0; i < 10; i++) {
        keys.push(yield* save(store, at + i))
        keys.push(yield* save(behind, at - 1_000_000 + i), yield* save(behind, at - 1_000_000 + i))
      }
      assert.deepStrictEqual(
        keys,
        keys.toSorted((a, b) => a - b)
      )
      assert.strictEqual(new Set(keys).size, keys.length)
      // The newest one is removed, and its number is not given again.
      yield* store.remove([keys.at(-1) ?? 0])
      assert.isAbove(yield* save(behind, at), keys.at(-1) ?? 0)
      const newest = Option.getOrThrow(yield* store.newest({ run: null, name: "draft" }))
      assert.isUndefined(newest.damaged)
    })
  )

  it.scopedLive("a cleanup of many runs removes each run in one commit, and few in each", () =>
    Effect.gen(function* () {
      const { database, ran, store } = yield* recordingStore
      yield* store.enqueue(request)
      database.exec(`
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO recovery_runs (id, workflow, version, input, labels, created_at, token, due_at, status, exit, finished_at)
          SELECT 'run-' || i, 'ended', '1', '', '{}', 0, 1, 0, 'completed', '', 0 FROM n;
        INSERT INTO recovery_journal (run, seq, kind, step, attempt, at, payload)
          SELECT key, 1, 'StepCompleted', 'a', 1, 0, '{}' FROM recovery_runs WHERE workflow = 'ended'`)
      ran.length = 0
      const removed = yield* withService(store)(Workflow.cleanup({ olderThan: "1 hour" }))
      assert.strictEqual(removed, 2_000)
      const commits = ran
        .map(({ sql }) => sql)
        .join("\n")
        .split("COMMIT")
      const removals = commits.map((sql) => sql.split("DELETE FROM recovery_runs").length - 1)
      assert.isAtMost(Math.max(...removals), 250)
      // Each row is read once, and removed by its key: the work is proportional to the runs.
      const read = ran.filter(({ sql }) => sql.startsWith("SELECT")).reduce((sum, { rows }) => sum + rows, 0)
      assert.isAtMost(read, 2 * 2_001 + 100)
      assert.isAtMost(ran.length, 6 * 2_000 + 200)
      assert.strictEqual((yield* store.list({})).length, 1, "the run without an outcome stays")
    })
  )

  it.scopedLive("a checkpoint that a column refuses is an error, and nothing is saved", () =>
    Effect.gen(function* () {
      const { store } = yield* recordingStore
      // Not by the types: what a program without them may pass.
      const refused = { ...snapshot, schema: null } as unknown as Storage.NewSnapshot
      assert.strictEqual((yield* Effect.flip(store.save(refused, {})))._tag, "StorageError")
      assert.isTrue(Option.isNone(yield* store.newest({ run: null, name: "draft" })))
    })
  )
})

const request: Storage.EnqueueRequest = { id: "open", workflow: "open", version: "1", input: "", labels: {} }

const snapshot: Storage.NewSnapshot = {
  run: undefined,
  step: "",
  seq: 0,
  name: "draft",
  own: undefined,
  kind: "manual",
  version: 1,
  schema: "form",
  digest: "digest",
  size: 2,
  encoding: "json",
  state: "{}",
  labels: {},
  about: "{}",
  at: 0
}
