import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { bundle } from "../support/children.js"

/** Nothing is optimized, so no allocation is optimized away at one time and not at another, and nothing is collected. */
const flags = [
  "--no-opt",
  "--no-sparkplug",
  "--no-lazy-feedback-allocation",
  "--no-flush-bytecode",
  "--single-threaded",
  "--hash-seed=1",
  "--random-seed=1",
  "--min-semi-space-size=512",
  "--max-semi-space-size=512"
]

const file = fileURLToPath(new URL("allocations.json", import.meta.url))

/** A call may allocate so much more than is on record before the test fails. Counts repeat within 0.3 %. */
const bound = 1.03

// `RECOVERY_RECORD=1 npx vitest run test/guard` renews the record.
const renews = process.env["RECOVERY_RECORD"] === "1"

/** Objects have other sizes in other versions of V8. */
const engine = `node ${process.versions.node.split(".")[0]}`

type Counted = Readonly<Record<string, number>>

describe("hot paths", () => {
  let program = ""
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-recovery-"))
  beforeAll(async () => {
    program = await bundle("allocations.ts")
  })
  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

  it("allocate at most the bytes that are on record, and the record is not out of date", () => {
    const args = [...flags, program, path.join(folder, "allocations.db")]
    const counted: Counted = JSON.parse(childProcess.execFileSync(process.execPath, args, { encoding: "utf8" }))
    const all: Record<string, Counted> = JSON.parse(fs.readFileSync(file, "utf8"))
    if (renews) fs.writeFileSync(file, `${JSON.stringify({ ...all, [engine]: counted }, null, 2)}\n`)
    for (const bytes of Object.values(counted)) assert.isAbove(bytes, 0)
    const recorded = renews ? counted : all[engine]
    // Without a record for this engine only that of the others guards: their runs are part of each check, too.
    if (recorded === undefined) return
    assert.deepStrictEqual(Object.keys(recorded), Object.keys(counted))
    const changed = Object.entries(counted).flatMap(([name, bytes]) => {
      const before = recorded[name] ?? 0
      if (bytes > before * bound) return [`${name}: ${bytes} bytes, more than the ${before} on record`]
      // What has become cheaper stays so.
      return before > bytes * bound ? [`${name}: ${bytes} bytes, fewer than the ${before} on record; renew it`] : []
    })
    assert.deepStrictEqual(changed, [])
  })
})
