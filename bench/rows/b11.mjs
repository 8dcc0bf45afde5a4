/** B11: how long the event loop stands still under large results, many steps at once, and a cleanup. A process for each. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { goal, temporaryFolder } from "../harness.mjs"

const child = fileURLToPath(new URL("./b11-child.mjs", import.meta.url))

const works = [
  "40 results of 1 MB, text",
  "40 results of 1 MB, objects",
  "200 results of 1 MB at once",
  "10,000 parallel steps",
  "cleanup of 100,000 runs",
  "list of 10,000 of 100,000 runs",
  "health beside 100,000 runs"
]

const wanted = 50

export const run = async () => {
  const folder = temporaryFolder()
  const values = {}
  const table = [["", "took", "delay p99", "longest delay", "turn p99, CPU", "longest turn, CPU"]]
  const goals = []
  for (const [i, work] of works.entries()) {
    const output = childProcess.execFileSync(process.execPath, [child, path.join(folder, `${i}.db`), work], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"]
    })
    const found = JSON.parse(output)
    values[work] = found
    const { cpu, cpu99, max, millis, p99 } = found
    table.push([work, ...[millis, p99, max, cpu99, cpu].map((each) => `${each.toFixed(0)} ms`)])
    goals.push(
      goal(`${work}: p99 of turns, CPU`, cpu99, { atMost: wanted, unit: "ms", beside: values[works[0]].cpu99 })
    )
  }
  fs.rmSync(folder, { recursive: true, force: true })
  return { title: "B11  turns of the event loop on SQLite, NORMAL", table, goals, values }
}
