import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { assert, describe, it } from "vitest"
import { useProgram } from "../support/children.js"

interface Result {
  readonly outcome: "success" | { readonly tag: string; readonly reason: string; readonly message: string }
  readonly isUnchanged: boolean
  readonly written: number
}

describe.skipIf(process.platform === "win32")("a process that may have 256 files open", () => {
  const { folder, program } = useProgram("descriptors.ts")

  const perform = (scenario: string): Result => {
    fs.rmSync(folder, { recursive: true })
    fs.mkdirSync(folder)
    const limited = 'ulimit -n 256; exec "$@"'
    const { status, stderr, stdout } = spawnSync(
      "sh",
      ["-c", limited, "sh", process.execPath, program(), scenario, folder],
      { encoding: "utf8" }
    )
    assert.strictEqual(status, 0, stderr)
    return JSON.parse(stdout)
  }

  it("writes 400 files at once", () => {
    assert.deepStrictEqual(perform("concurrent writes"), { outcome: "success", isUnchanged: false, written: 400 })
  })

  it("rolls back a transaction that needs a lock more than it can have", () => {
    const { isUnchanged, outcome } = perform("a transaction of many files")
    if (outcome === "success") return assert.fail("the limit was not reached")
    // Of a lock, or of a file: whatever came first.
    assert.strictEqual(outcome.reason, "Descriptors")
    assert.match(outcome.message, /too many files are open.*ulimit -n/)
    assert.isTrue(isUnchanged)
  })

  it("says so if none is left, and what to do", () => {
    const { isUnchanged, outcome } = perform("none is left")
    if (outcome === "success") return assert.fail("there was one left")
    assert.deepInclude(outcome, { tag: "FileError", reason: "Descriptors" })
    assert.match(outcome.message, /file-0 failed: too many files are open.*Raise the limit \(ulimit -n\)/)
    assert.isTrue(isUnchanged)
  })
})
