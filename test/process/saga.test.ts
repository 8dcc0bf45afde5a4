import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { SqliteStorage } from "effect-recovery/sqlite"
import { Scorecard, Testing } from "effect-recovery/testing"
import { assert, describe, it } from "vitest"
import { bundle, temporaryFolder } from "../support/children.js"

describe("a saga killed at every durable write, forward and during its rollback", () => {
  it("undoes everything, once, and keeps its error", { timeout: 300_000 }, async () => {
    const program = await bundle("saga.ts")
    const card = await Effect.runPromise(
      Testing.killEverywhere({
        program,
        storage: (folder) => SqliteStorage.layer({ filename: `${folder}/runs.db` })
      })
    )
    fs.rmSync(program)
    assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
    // Opened, 6 steps, the rollback with its 5 compensations, the outcome; before and after each.
    assert.strictEqual(card.crashes, 2 * (1 + 12 + 1 + 10 + 1 + 1))
    assert.isAbove(card.ambiguous, 0)
  })
})

describe("transfers in the program's own tables", () => {
  it("are committed with the journal: once, wherever the process is killed", { timeout: 300_000 }, async () => {
    const program = await bundle("transfer.ts")
    const storage = (folder: string) => SqliteStorage.layer({ filename: `${folder}/runs.db` })
    const everywhere = await Effect.runPromise(Testing.killEverywhere({ program, storage }))
    assert.isTrue(Scorecard.isClean(everywhere), Scorecard.format(everywhere))
    // Opened, three transfers with one write each, the note with two, the outcome.
    assert.strictEqual(everywhere.crashes, 2 * (1 + 3 + 2 + 1))
    fs.rmSync(program)
  })

  it("leave nothing behind if the process is killed before the commit", { timeout: 60_000 }, async () => {
    const program = await bundle("transfer.ts")
    const folder = temporaryFolder()
    const env = { RECOVERY_TESTING_FOLDER: folder }
    const first = childProcess.spawnSync(process.execPath, [program, "10"], { env: { ...process.env, ...env } })
    assert.strictEqual(first.signal, "SIGKILL")
    const second = childProcess.spawnSync(process.execPath, [program, "10"], { env: { ...process.env, ...env } })
    assert.strictEqual(second.status, 0, String(second.stderr))
    assert.strictEqual(fs.readFileSync(`${folder}/outcome`, "utf8"), "success [1,11,111]")
    fs.rmSync(program)
    fs.rmSync(folder, { recursive: true })
  })
})
