import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "vitest"
import { bundle, temporaryFolder } from "../support/children.js"

const run = promisify(childProcess.execFile)

/** From `PATH`, or from the variable with the runtime's name in capitals. */
const runtimes = [
  {
    name: "Bun",
    command: process.env["BUN"] ?? "bun",
    args: [],
    driver: "bun:sqlite",
    again: "Failed to back the database up"
  },
  {
    name: "Deno",
    command: process.env["DENO"] ?? "deno",
    args: ["run", "--allow-all"],
    driver: "node:sqlite",
    again: "replaced"
  }
]

const isThere = (command: string) => childProcess.spawnSync(command, ["--version"]).status === 0

for (const { again, args, command, driver, name } of runtimes) {
  const found = isThere(command)
  if (!found) console.log(`No ${name} on this machine: its SQLite is not tested.`)

  describe.skipIf(!found)(`SQLite of ${name}`, () => {
    it("keeps the storage contract, copies itself, and loses nothing to kills", async () => {
      const [program, transfer] = await Promise.all([bundle("otherRuntime.ts"), bundle("transfer.ts")])
      const folder = temporaryFolder()
      const { stdout } = await run(command, [...args, program, transfer, folder], {
        env: { ...process.env, TEST_STORAGE: JSON.stringify({ kind: "sqlite", driver }) },
        maxBuffer: 10_000_000
      })
      const { checks, copies, failed, kills } = JSON.parse(stdout)
      assert.deepStrictEqual(failed, [])
      assert.isAbove(checks, 50)
      assert.strictEqual(copies.driver, driver)
      assert.isAtLeast(copies.pages, 2)
      assert.deepStrictEqual(copies.copied, [{ n: 1 }])
      assert.include(copies.again, again)
      assert.strictEqual(copies.exported, "SQLite format 3")
      assert.isTrue(kills.isClean, kills.card)
      assert.strictEqual(kills.crashes, 14)
      fs.rmSync(path.resolve(folder), { recursive: true })
    })
  })
}
