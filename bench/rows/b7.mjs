/**
 * B7: no time but a scorecard. A saga of five steps with compensations and a
 * failing sixth, killed with SIGKILL after each line of its ledger, forward and
 * during its rollback; then another process finishes it.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { goal, temporaryFolder } from "../harness.mjs"

const child = fileURLToPath(new URL("./b7-child.mjs", import.meta.url))

const patience = 60_000

const saga = (engine, killAfter) => {
  const folder = temporaryFolder()
  const start = (...args) =>
    childProcess.spawnSync(process.execPath, [child, engine, folder, ...args], {
      timeout: patience,
      killSignal: "SIGKILL"
    })
  const first = start(String(killAfter))
  const second = fs.existsSync(`${folder}/outcome`) ? first : start()
  const stuck = second.error !== undefined
  const ledger = fs.readFileSync(`${folder}/ledger`, "utf8").trim().split("\n")
  const outcome = stuck ? "none" : fs.readFileSync(`${folder}/outcome`, "utf8")
  fs.rmSync(folder, { recursive: true, force: true })
  return { ledger, outcome }
}

const times = (ledger, line) => ledger.filter((one) => one === line).length

const score = (engine) => {
  const undisturbed = saga(engine, 0)
  const card = { kills: 0, repeated: 0, lost: 0, missed: 0, doubled: 0, others: 0 }
  for (let killAfter = 1; killAfter <= undisturbed.ledger.length; killAfter++) {
    const { ledger, outcome } = saga(engine, killAfter)
    card.kills++
    for (const line of new Set(undisturbed.ledger)) {
      const more = times(ledger, line) - times(undisturbed.ledger, line)
      const isUndo = line.startsWith("undo")
      // The line the process was killed after was not on record yet: whether it happened is unknown.
      const known = ledger[killAfter - 1] === line ? 1 : 0
      if (more < 0) card[isUndo ? "missed" : "lost"] -= more
      if (more > known) card[isUndo ? "doubled" : "repeated"] += more - known
    }
    if (outcome !== undisturbed.outcome) card.others++
  }
  return { undisturbed, card }
}

export const run = () => {
  const engines = { ours: score("ours"), "@effect/workflow": score("theirs") }
  const columns = ["kills", "repeated", "lost", "missed", "doubled", "others"]
  const heads = ["killed", "effects repeated", "effects lost", "undos missed", "undos doubled", "other outcomes"]
  const ours = engines.ours.card
  return {
    title: "B7  a saga killed after each effect and each undo: beyond what the kill itself leaves open",
    table: [
      ["", ...heads],
      ...Object.entries(engines).map(([name, { card }]) => [name, ...columns.map((column) => String(card[column]))])
    ],
    goals: [
      goal(
        "effects repeated or lost, undos missed or doubled, other outcomes",
        columns.slice(1).reduce((sum, column) => sum + ours[column], 0),
        { atMost: 0, unit: "in all" }
      )
    ],
    values: engines
  }
}
