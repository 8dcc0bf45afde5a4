import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import { assert, describe, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { seeded, temporaryFolder, useProgram } from "../support/children.js"
import { useChildStorage } from "../support/childStorage.js"
import { drivers } from "../support/drivers.js"

const rounds = lengthOf("CANCEL_KILLS")
const seed = seedOf(20261129)

/** The opening, the steps, the request, the rollback and the outcome are about so many; a point past them kills nothing. */
const writes = 12

describe("a run that is cancelled while its process is killed", () => {
  useChildStorage(() => ({ kind: "sqlite", driver: drivers[0]?.name ?? "better-sqlite3" }))
  const { program } = useProgram("cancelled.ts")
  const forms = ["run", "scoped"]

  it(`ends as cancelled, compensated in reverse order, after ${rounds} kills (seed ${seed})`, () => {
    const random = seeded(seed)
    let killed = 0
    for (let round = 0; round < rounds; round++) {
      const folder = temporaryFolder()
      const point = `${random(2) === 0 ? "before" : "after"} write ${1 + random(writes)}`
      const form = forms[round % forms.length] ?? "run"
      const start = (crash: object) => {
        const env = { ...process.env, RECOVERY_TESTING_FOLDER: folder, ...crash }
        return childProcess.spawnSync(process.execPath, [program(), form], { env, encoding: "utf8" })
      }
      const first = start({ RECOVERY_TESTING_CRASH: point })
      if (first.signal === "SIGKILL") {
        killed++
        const second = start({})
        assert.strictEqual(second.status, 0, `${point}: ${second.stderr}`)
      } else assert.strictEqual(first.status, 0, first.stderr)
      const outcome = fs.readFileSync(`${folder}/outcome`, "utf8")
      assert.match(outcome, /no longer needed/, point)
      assert.include(outcome, "cancelled", point)
      const lines = fs.readFileSync(`${folder}/ledger.jsonl`, "utf8").trim().split("\n")
      const effects = lines.map((line): { kind: string; effect: string } => JSON.parse(line))
      const of = (kind: string) => effects.filter((line) => line.kind === kind).map(({ effect }) => effect)
      // What was cut short runs again, and nothing else runs between.
      const inOrder = (all: ReadonlyArray<string>) => all.filter((effect, i) => effect !== all[i - 1])
      assert.deepStrictEqual(inOrder(of("done")), ["hotel", "flight"], point)
      assert.deepStrictEqual(inOrder(of("undone")), ["cancels", "flight", "hotel"], point)
      assert.isAtMost(lines.length, 6, point)
      fs.rmSync(folder, { recursive: true })
    }
    assert.isAbove(killed, rounds / 3)
  })
})
