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
  const wanted = { NORMAL: { "c=1": 0.6, "c=50": 2 }, FULL: { "c=1": 0.8, "c=50": 5 } }
  const goals = levels.flatMap(([level, values]) =>
    Object.entries(wanted[level]).flatMap(([c, atLeast]) => [
      goal(`${level} ${c}: workflows to the floor of six commits`, ratio(values, `ours ${c}`, "floor"), { atLeast }),
      goal(`${level} ${c}: workflows to @effect/workflow's`, ratio(values, `ours ${c}`, `@effect/workflow ${c}`), {
        atLeast: c === "c=1" ? 9 : 30
      })
    ])
  )
  return { title: "B4  durable workflows of 4 steps per second", table, goals, values: Object.fromEntries(levels) }
}
