import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Checkpoint, Signal, State, Step, Storage, Workflow } from "effect-recovery"
import { RecoveryManager, StorageCheck, Timeline } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"
import { Testing } from "effect-recovery/testing"
import * as encryption from "../../examples/workflows/encrypted-storage.js"
import { encodedStore } from "../../src/storage/internal/encodedStore.js"
import { assertTagged } from "../support/assertions.js"
import { temporaryFolder } from "../support/files.js"
import { lease, request } from "../support/runs.js"
import { backends, memory } from "../support/storages.js"

const keyOf = (id: string) => ({ id, key: Redacted.make(crypto.createHash("sha256").update(id).digest()) })
const [first, second] = [keyOf("2026-1"), keyOf("2026-2")]
const encrypted = encryption.encryptedBy([first])

for (const backend of backends) {
  describe(`${backend.name} with encrypted payloads: the storage contract`, () => {
    const store = Effect.map(backend.make, ({ store }) => encodedStore(store, encrypted))
    for (const { check, name } of Testing.storageContract(store)) it.live(name, () => check)
  })
}

describe("memory with payloads that are encoded asynchronously: the storage contract", () => {
  const later = (payload: Uint8Array) => Effect.promise(() => Promise.resolve(payload.toReversed()))
  const store = Effect.map(memory.make, ({ store }) => encodedStore(store, { encode: later, decode: later }))
  for (const { check, name } of Testing.storageContract(store)) it.live(name, () => check)
})

const secret = "planted-secret"
const bytes = (folder: string) =>
  fs
    .readdirSync(folder)
    .map((file) => fs.readFileSync(path.join(folder, file)).toString("latin1"))
    .join("\n")

class Denied extends Schema.TaggedError<Denied>()("Denied", { why: Schema.String }) {}

const Cell = State.make("cell", Schema.String, "")
const Shared = State.make("shared", Schema.String, "", { scope: "global" })
const Point = Checkpoint.make("point", { schema: Schema.Struct({ text: Schema.String }) })
const Go = Signal.make("go", Schema.String)

const step = Step.make("step", { success: Schema.String, run: (text: string) => Effect.succeed(`${text} result`) })
const failing = Step.make("failing", { error: Denied, run: new Denied({ why: `${secret} error` }) })

const Job = Workflow.make("job", { input: Schema.String, success: Schema.String, error: Denied }, (input) =>
  Effect.gen(function* () {
    const result = yield* step(input)
    yield* Cell.set(`${secret} state`)
    yield* Shared.set(`${secret} shared`)
    yield* Point.save({ text: `${secret} ${"long ".repeat(2_000)}` })
    const sent = yield* Go.wait()
    if (sent === `${secret} fail`) yield* failing
    return `${result} ${sent} ${yield* Cell.get} ${(yield* Shared.get).length}`
  })
)

const withKeys = (folder: string, payloads?: Storage.Payloads) =>
  Layer.provideMerge(
    RecoveryManager.layer({ workflows: [Job] }),
    SqliteStorage.layer({ filename: path.join(folder, "runs.db"), durability: "process-crash", payloads })
  )

const run = Effect.gen(function* () {
  for (const id of ["completed", "failed", "open"]) {
    yield* Effect.flip(Workflow.execute(Job, { id, input: `${secret} ${id}` }))
  }
  yield* Go.send("completed", `${secret} signal`)
  yield* Go.send("failed", `${secret} fail`)
  const completed = yield* Workflow.execute(Job, { id: "completed", input: `${secret} completed` })
  const error = yield* Effect.flip(Workflow.execute(Job, { id: "failed", input: `${secret} failed` }))
  yield* RecoveryManager.report(new Error(`${secret} message`), { id: "f1", log: `${secret} log` })
  return { completed, error }
})

const expected = `${secret} completed result ${secret} signal ${secret} state ${`${secret} shared`.length}`

describe("A storage with encrypted payloads", () => {
  it.scopedLive("holds no payload in plain text, and resumes as any other", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { completed, error } = yield* Effect.provide(run, withKeys(folder, encrypted))
      assert.strictEqual(completed, expected)
      assertTagged(error, "Denied", { why: `${secret} error` })
      assert.notInclude(bytes(folder), "planted")
      const later = Effect.gen(function* () {
        assert.strictEqual(yield* Workflow.execute(Job, { id: "completed", input: `${secret} completed` }), expected)
        assertTagged(yield* Effect.flip(Workflow.execute(Job, { id: "open", input: "another" })), "RunMismatch")
        const { failures } = { failures: yield* RecoveryManager.failures() }
        assert.include(failures.map(({ message }) => message).join(), `${secret} message`)
        const [found] = yield* Point.list({ run: "completed" })
        assert.include((yield* Point.restore(found?.id ?? "")).state.text, secret)
        assert.deepStrictEqual((yield* StorageCheck.run).findings, [])
      })
      yield* Effect.provide(later, withKeys(folder, encrypted))
      assert.notInclude(bytes(folder), "planted")
    })
  )

  it.scopedLive("is read with its old key after the key was replaced, and with neither fails by name", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.provide(run, withKeys(folder, encrypted))
      const resumed = Workflow.execute(Job, { id: "completed", input: `${secret} completed` })
      const rotated = encryption.encryptedBy([second, first])
      assert.strictEqual(yield* Effect.provide(resumed, withKeys(folder, rotated)), expected)
      const wrong = Effect.gen(function* () {
        const error = yield* Effect.flip(Timeline.ofRun("open"))
        assertTagged(error, "StorageError", { reason: "Payload" })
        assert.match(
          error.message,
          /^Decoding the input of run "open": Payload \(there is no key "2026-1"\)\. Open the storage/
        )
        const line = yield* Effect.flip(Effect.flatMap(Storage.Storage, (storage) => storage.journal(1)))
        assert.match(line.message, /^Decoding line 1 \(AttemptStarted of "step"\)/)
        // A list marks the rows, and hides none.
        const runs = yield* Workflow.list()
        assert.deepStrictEqual(
          runs.map(({ id }) => id),
          ["open", "failed", "completed"]
        )
        assert.match(runs[0]?.labels["damaged"] ?? "", /Decoding the input of run "open"/)
        assertTagged(yield* Effect.flip(resumed), "StorageError", { reason: "Payload" })
      })
      yield* Effect.provide(wrong, withKeys(folder, encryption.encryptedBy([second])))
      // The lease of a run that cannot be read is released: the right key resumes it at once.
      assert.strictEqual(yield* Effect.provide(resumed, withKeys(folder, rotated)), expected)
    })
  )

  it.scopedLive("tells a process of all holds of its runs, also beside those whose key it does not have", () =>
    Effect.gen(function* () {
      const { store } = yield* memory.make
      const [worker, stranger] = [encodedStore(store, encrypted), encodedStore(store, encryption.encryptedBy([second]))]
      const leases = yield* Effect.forEach(["a", "b", "c"], (id) => lease(worker, request(id), "worker"))
      // Only the answer cannot be decoded: the run has the worker's key.
      yield* Effect.exit(stranger.hold("a", { id: "manual", reason: "strange" }))
      yield* stranger.cancel("b", "strange")
      yield* worker.hold("c", { id: "manual", reason: "known" })
      const found = yield* worker.controls(leases)
      assert.deepStrictEqual(
        found.map(({ cancel, hold, lease }) => [lease.run, hold?.id, cancel]),
        [
          ["a", "manual", undefined],
          ["b", undefined, undefined],
          ["c", "manual", undefined]
        ]
      )
      assert.include(found[0]?.hold?.reason, 'why run "a" is on hold')
      assert.strictEqual(found[2]?.hold?.reason, "known")
    })
  )

  it.scopedLive("is verified by its checksums without the key", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.provide(run, withKeys(folder, encrypted))
      const { findings, runs } = yield* Effect.provide(StorageCheck.run, withKeys(folder))
      assert.deepStrictEqual({ findings, runs }, { findings: [], runs: 3 })
      const { moments } = yield* Effect.provide(Timeline.ofRun("failed"), withKeys(folder))
      assert.include(moments.map(({ detail }) => detail ?? "").join(), "encoded by the payloads of its storage")
      const error = yield* Effect.flip(
        Effect.provide(Workflow.execute(Job, { id: "failed", input: "x" }), withKeys(folder))
      )
      assert.include(String(error), "open the storage with the same ones")
    })
  )

  it.scopedLive("reads what was stored in plain text before", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.provide(run, withKeys(folder))
      const resumed = Workflow.execute(Job, { id: "completed", input: `${secret} completed` })
      assert.strictEqual(yield* Effect.provide(resumed, withKeys(folder, encrypted)), expected)
    })
  )

  it.scopedLive("refuses a payload that was put in the place of another kind", () =>
    Effect.gen(function* () {
      const sealed = encrypted.encode(Buffer.from("x"), "input") as Uint8Array
      assert.throws(() => encrypted.decode(sealed, "exit"))
      assert.strictEqual(Buffer.from(encrypted.decode(sealed, "input") as Uint8Array).toString(), "x")
    })
  )
})
