/**
 * B4: durable workflows of four steps per second on SQLite, alone and fifty at
 * a time, at both levels of durability; the floor is better-sqlite3 committing
 * six rows per workflow in sequence.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { goal, interleave, temporaryFolder } from "../harness.mjs"

const rounds = 5
const program = fileURLToPath(new URL("./b4-child.mjs", import.meta.url))

const start = (engine, durability, folder) => {
  const args = [program, engine, path.join(folder, `${engine}.db`), durability]
  const child = childProcess.spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] })
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    perSecond: (count, concurrency) => async () => {
      child.stdin.write(`${count} ${concurrency}\n`)
      return Number((await lines.next()).value)
    },
    close: () => child.stdin.end()
  }
}

const measure = async (durability) => {
  const folder = temporaryFolder()
  const ours = start("ours", durability, folder)
  const theirs = start("theirs", durability, folder)
  const raw = start("floor", durability, folder)
  const slow = durability === "power-loss"
  const values = await interleave(
    {
      "ours c=1": ours.perSecond(slow ? 300 : 1_000, 1),
      "ours c=50": ours.perSecond(4_000, 50),
      "@effect/workflow c=1": theirs.perSecond(40, 1),
      "@effect/workflow c=50": theirs.perSecond(100, 50),
      floor: raw.perSecond(slow ? 300 : 2_000, 1)
    },
    rounds
  )
  for (const engine of [ours, theirs, raw]) engine.close()
  fs.rmSync(folder, { recursive: true, force: true })
  return values
}

export const run = async () => {
  const levels = [
    ["NORMAL", await measure("process-crash")],
    ["FULL", await measure("power-loss")]
  ]
  const ratio = (values, a, b) => values[a].median / values[b].median
  const table = [["", ...levels.flatMap(([level]) => [`${level} /s`, "to @effect/workflow", "to the floor"])]]
  for (const name of ["ours c=1", "ours c=50", "@effect/workflow c=1", "@effect/workflow c=50", "floor"]) {
    const theirs = `@effect/workflow c=${name.endsWith("50") ? 50 : 1}`
    table.push([
      name,
      ...levels.flatMap(([, values]) => [
        values[name].median.toFixed(0),
        `${ratio(values, name, theirs).toFixed(1)}x`,
        `${ratio(values, name, "floor").toFixed(2)}x`
      ])
    ])
  }
  const goals = levels.flatMap(([level, values]) => {
    const alone = ratio(values, "ours c=1", "@effect/workflow c=1")
    const many = ratio(values, "ours c=50", "@effect/workflow c=50")
    return [
      goal(`${level}: 30x @effect/workflow at c=1: ${alone.toFixed(1)}x`, alone >= 30),
      goal(`${level}: 80x @effect/workflow at c=50: ${many.toFixed(1)}x`, many >= 80)
    ]
  })
  const toFloor = ratio(levels[1][1], "ours c=50", "floor")
  goals.push(goal(`FULL: 5x the sequential floor at c=50: ${toFloor.toFixed(2)}x`, toFloor >= 5))
  return { title: "B4  durable workflows of 4 steps per second", table, goals, values: Object.fromEntries(levels) }
}
