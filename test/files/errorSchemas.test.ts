import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Fault, Lock, Step, Storage, Workflow } from "effect-recovery"
import { Backup, FileTransaction } from "effect-recovery/files"
import { errno } from "../../src/files/internal/system/calls.js"

const cause = errno("ENOSPC", "no space left on device")

const errors = {
  FileError: new Backup.FileError({ reason: "Full", operation: "Writing", path: "/a", cause }),
  "FileError without a cause": new Backup.FileError({ reason: "Mounted", operation: "Changing", path: "/a" }),
  LockError: new Lock.LockError({ reason: "Full", lock: "task/T-1", path: "/locks", cause }),
  LockTimeout: new Lock.LockTimeout({
    lock: "task/T-1",
    limit: Duration.millis(500),
    waited: Duration.nanos(502_979_333n),
    status: { lock: "task/T-1", state: "held", token: 7, owner: "host/1@1/1", since: 0 }
  }),
  LockLost: new Lock.LockLost({ lock: "task/T-1", token: 7 })
}

describe("the errors of files and locks", () => {
  for (const [name, error] of Object.entries(errors)) {
    it.effect(`${name} of a step comes back from the journal as its class, with its fields and its message`, () =>
      Effect.gen(function* () {
        const step = Step.make("change", { error: FileTransaction.TransactionError, run: Effect.fail(error) })
        const workflow = Workflow.make(
          "change",
          { input: Schema.Void, error: FileTransaction.TransactionError },
          () => step
        )
        const run = Effect.flip(Workflow.execute(workflow, { id: "r1", input: undefined }))
        for (const found of [yield* run, yield* run]) {
          assert.strictEqual(found.constructor, error.constructor)
          assert.strictEqual(found.message, error.message)
          assert.strictEqual((yield* Fault.classify(found)).category, (yield* Fault.classify(error)).category)
        }
      }).pipe(Effect.provide(Storage.layerMemory))
    )
  }

  it("LockTimeout says how long the caller would wait, in words", () => {
    assert.match(
      errors.LockTimeout.message,
      /"task\/T-1" was not acquired within its timeout of 500ms: host\/1@1\/1 holds/
    )
    assert.strictEqual(Duration.toMillis(errors.LockTimeout.limit), 500)
  })
})
