import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Fault, Lock, Storage, Transaction, Workflow } from "effect-recovery"
import { decodeUndoCause, encodeUndoCause } from "../../src/journal/JournalCodec.js"
import { failureOf } from "../../src/journal/RunFailure.js"
import { Defect } from "../../src/resilience/Defect.js"
import { messageOf, prettyCause, printable, toJson } from "../../src/resilience/Foreign.js"
import { Redaction } from "../../src/resilience/Redaction.js"
import { hostileErrors } from "../support/hostile.js"

/** Every library error that carries a value of other code. */
const carriers = (cause: unknown): ReadonlyArray<{ readonly message: string }> => {
  const failure = { undo: "undo", cause: Cause.die(cause) }
  const undone = { failures: [failure], remaining: [], pivot: undefined }
  return [
    new Workflow.JournalError({ reason: "Encode", run: "1", record: "success", cause }),
    new Workflow.RewindFailed({ run: "1", point: "the start", ...undone }),
    new Storage.StorageError({ reason: "Io", operation: "Reading", cause }),
    new Lock.LockError({ reason: "Storage", lock: "lock/a", cause }),
    new Transaction.RollbackFailed({ transaction: "t", original: Cause.fail(cause), ...undone })
  ]
}

describe("A hostile error", () => {
  it.effect.each(hostileErrors)("with %s becomes bounded text and JSON, and nothing throws", ([, make]) =>
    Effect.gen(function* () {
      const error = make()
      assert.isAtMost(messageOf(error).length, 2_000)
      assert.isAtMost(JSON.stringify(toJson(error)).length, 400_000)
      assert.isAtMost(prettyCause(Cause.die(error)).length, 100_000)
      assert.isAtMost(JSON.stringify(Schema.encodeSync(Defect)(error)).length, 500_000)
      for (const { message } of carriers(error)) assert.isAtMost(message.length, 10_000)
      assert.isString((yield* Fault.classify(error)).fingerprint)
      const cause = Cause.parallel(Cause.fail(error), Cause.sequential(Cause.die(error), Cause.die("beside")))
      const text = yield* encodeUndoCause(cause)
      assert.isTrue(Cause.isCause(yield* decodeUndoCause(text ?? "")))
      const logged = Effect.logWarning("a hook failed", printable(Cause.die(error)))
      yield* Effect.provide(
        logged,
        Logger.replace(
          Logger.defaultLogger,
          Logger.make((log) => void Logger.stringLogger.log(log))
        )
      )
    })
  )

  it("becomes its tag and fields if it has no message", () => {
    class Offline extends Data.TaggedError("Offline")<{ readonly host: string; readonly port: number }> {}
    class Written extends Schema.TaggedError<Written>()("Written", { host: Schema.String }) {}
    class Bare extends Schema.TaggedError<Bare>()("Bare", {}) {}
    class Empty extends Data.TaggedError("Empty")<{ readonly cause?: unknown }> {}
    class Own extends Data.TaggedError("Own")<{ readonly host: string; readonly message: string }> {}
    class Loop extends Data.TaggedError("Loop")<{ readonly loop: object; readonly bytes: Uint8Array }> {}
    class Secret extends Data.TaggedError("Secret")<{ readonly token: Redacted.Redacted }> {}
    const loop: { self?: unknown } = {}
    loop.self = loop
    const shown: ReadonlyArray<readonly [unknown, string]> = [
      [new Offline({ host: "smtp", port: 25 }), 'Offline { "host": "smtp", "port": 25 }'],
      [new Written({ host: "smtp" }), 'Written { "host": "smtp" }'],
      [{ _tag: "Plain", host: "smtp" }, 'Plain { "host": "smtp" }'],
      [new Empty({}), "Empty"],
      [new Empty({ cause: new Error("disk full") }), "disk full"],
      [new Own({ host: "smtp", message: "no answer" }), "no answer"],
      [new Loop({ loop, bytes: new Uint8Array(1e6) }), 'Loop { "loop": {"self":"…"}, "bytes": "1000000 bytes" }'],
      [new Secret({ token: Redacted.make("s3cret") }), 'Secret { "token": "<redacted>" }']
    ]
    for (const [error, message] of shown) assert.strictEqual(messageOf(error), message)
    const huge = new Offline({ host: "x".repeat(1e6), port: 1 })
    assert.strictEqual(messageOf(huge).length, 2_000)
    // The same words once the error is read from the record of its run.
    const exit = JSON.stringify({ _tag: "Fail", error: { _tag: "Offline", host: "smtp", port: 25 } })
    const recorded = failureOf(exit, Effect.runSync(Redaction))
    assert.strictEqual(recorded.message, 'Offline { "host": "smtp", "port": 25 }')
    // The errors of compensations are recorded as defects.
    for (const [error, message] of [
      [new Bare(), "Bare"],
      [new Written({ host: "smtp" }), 'Written { "host": "smtp" }']
    ] as const) {
      const text = Effect.runSync(encodeUndoCause(Cause.fail(error))) ?? ""
      assert.strictEqual(failureOf(text, Effect.runSync(Redaction)).message, message)
      assert.strictEqual(messageOf(Cause.squash(Effect.runSync(decodeUndoCause(text)))), message)
    }
    assert.match(prettyCause(Cause.fail(new Offline({ host: "smtp", port: 25 }))), /^Offline \{ "host": "smtp"/)
  })

  it("keeps what can be read of it", () => {
    const cause = Object.assign(new Error("disk full"), { code: "ENOSPC" })
    const json = Schema.encodeSync(Defect)(new TypeError("cannot save", { cause }))
    assert.deepInclude(json as object, { name: "TypeError", message: "cannot save" })
    assert.deepInclude((json as { readonly cause: object }).cause, { message: "disk full", code: "ENOSPC" })
    assert.deepStrictEqual(toJson({ a: [1, "b", null], at: new Date(0), n: 1n, __proto__: null }), {
      a: [1, "b", null],
      at: "1970-01-01T00:00:00.000Z",
      n: "1"
    })
  })
})
