import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { SqliteStorage } from "effect-recovery/sqlite"
import { Scorecard, Testing } from "effect-recovery/testing"
import { assert, describe, it } from "vitest"
import { isSoak, lengthOf, unlessSoak } from "../support/campaigns.js"
import { bundle, temporaryFolder } from "../support/children.js"
import { inChildStorages, inOwnStorages, inStockStorages, type StorageOf } from "../support/childStorage.js"

const steps = lengthOf("SAGA_STEPS")

const killed = `a saga of ${steps} steps killed before and after each durable write, also of its rollback`

const undoes = (storage: StorageOf, form: string): void =>
  it(`undoes every step once and keeps its error, Transaction.${form}`, async () => {
    const program = await bundle("saga.ts")
    const card = await Effect.runPromise(Testing.killEverywhere({ program, args: [String(steps), form], storage }))
    assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
    // Writes: open, the steps and the failing one, the rollback with its compensations, the outcome; before and after each.
    assert.strictEqual(card.crashes, 2 * (1 + 2 * (steps + 1) + 1 + 2 * steps + 1 + 1))
    assert.isAbove(card.ambiguous, 0)
  })

inOwnStorages(killed, (storage) => {
  for (const form of ["run", "scoped"]) undoes(storage, form)
})

// What a storage is asked is the same in each form.
if (isSoak) inStockStorages(killed, (storage) => undoes(storage, "run"))

// Their number is always the same.
unlessSoak(inChildStorages)("transfers in the program's own tables", (storage) => {
  it("are committed with the journal: once, wherever the process is killed", async () => {
    const program = await bundle("transfer.ts")
    const everywhere = await Effect.runPromise(Testing.killEverywhere({ program, storage }))
    assert.isTrue(Scorecard.isClean(everywhere), Scorecard.format(everywhere))
    // Writes: open, three transfers with one each, the note with two, the outcome.
    assert.strictEqual(everywhere.crashes, 2 * (1 + 3 + 2 + 1))
  })

  it("leave nothing behind if the process is killed before the commit", async () => {
    const program = await bundle("transfer.ts")
    const folder = temporaryFolder()
    const env = { RECOVERY_TESTING_FOLDER: folder }
    const first = childProcess.spawnSync(process.execPath, [program, "10"], { env: { ...process.env, ...env } })
    assert.strictEqual(first.signal, "SIGKILL")
    const second = childProcess.spawnSync(process.execPath, [program, "10"], { env: { ...process.env, ...env } })
    assert.strictEqual(second.status, 0, String(second.stderr))
    assert.strictEqual(fs.readFileSync(`${folder}/outcome`, "utf8"), "success [1,11,111]")
    fs.rmSync(folder, { recursive: true })
  })
})

describe.skipIf(isSoak)("a storage that cannot know whether a process is dead", () => {
  it("is resumed by the next process when the lease of the killed one has expired", async () => {
    const program = await bundle("leased.ts")
    const storage = (folder: string) => SqliteStorage.layer({ filename: `${folder}/runs.db` })
    const card = await Effect.runPromise(Testing.killEverywhere({ program, storage }))
    assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
    // Writes: open, the step, the outcome; before and after each.
    assert.isAtLeast(card.crashes, 2 * 3)
  })
})
