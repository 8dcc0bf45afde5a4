import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "vitest"
import { bundle, temporaryFolder } from "../support/children.js"

const run = promisify(childProcess.execFile)

/** From `PATH`, or from the variable `BUN`. */
const bun = process.env["BUN"] ?? "bun"
const version = childProcess.spawnSync(bun, ["--version"], { encoding: "utf8" }).stdout?.trim()
if (version === undefined) console.log("No bun on this machine: its SQLite is not tested.")

describe.skipIf(version === undefined)(`SQLite of Bun ${version}`, () => {
  it("keeps the storage contract, copies itself, and loses nothing to kills", async () => {
    const [program, transfer] = await Promise.all([bundle("onBun.ts"), bundle("transfer.ts")])
    const folder = temporaryFolder()
    const { stdout } = await run(bun, [program, transfer, folder], { maxBuffer: 10_000_000 })
    const { checks, copies, failed, kills } = JSON.parse(stdout)
    assert.deepStrictEqual(failed, [])
    assert.isAbove(checks, 50)
    assert.strictEqual(copies.driver, "bun:sqlite")
    assert.isAtLeast(copies.pages, 2)
    assert.deepStrictEqual(copies.copied, [{ n: 1 }])
    assert.include(copies.again, "Failed to back the database up")
    assert.strictEqual(copies.exported, "SQLite format 3")
    assert.isTrue(kills.isClean, kills.card)
    assert.strictEqual(kills.crashes, 14)
    for (const file of [program, transfer]) fs.rmSync(file)
    fs.rmSync(path.resolve(folder), { recursive: true })
  })
})
