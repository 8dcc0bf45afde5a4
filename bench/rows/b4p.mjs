/**
 * B4p: durable workflows of four steps per second on Postgres, alone and fifty
 * at a time, beside DBOS on the same server. The floor commits six rows per
 * workflow in sequence, each workflow on a connection of its own.
 */
import * as childProcess from "node:child_process"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { goal, interleave } from "../harness.mjs"
import { startPostgres } from "../postgres.mjs"

const rounds = 5
const program = fileURLToPath(new URL("./b4p-child.mjs", import.meta.url))

const start = (engine, url) => {
  const child = childProcess.spawn(process.execPath, [program, engine, url], { stdio: ["pipe", "pipe", "inherit"] })
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    perSecond: (count, concurrency) => async () => {
      child.stdin.write(`${count} ${concurrency}\n`)
      for (;;) {
        const { done, value } = await lines.next()
        if (done) throw new Error(`${engine} ended`)
        // Engines may log to the output as well.
        if (value.startsWith("per second ")) return Number(value.slice(11))
      }
    },
    close: () => child.stdin.end()
  }
}

export const run = async () => {
  const server = await startPostgres()
  const title = "B4p  durable workflows of 4 steps per second on Postgres"
  if (server === undefined)
    return { title: `${title}: skipped, no server programs`, table: [[""]], goals: [], values: {} }
  const names = ["ours", "dbos", "floor"]
  const engines = {}
  for (const name of names) engines[name] = start(name, await server.createDatabase(`bench_${name}`))
  const { dbos, floor, ours } = engines
  const values = await interleave(
    {
      "ours c=1": ours.perSecond(100, 1),
      "ours c=50": ours.perSecond(1_500, 50),
      "DBOS c=1": dbos.perSecond(100, 1),
      "DBOS c=50": dbos.perSecond(300, 50),
      "floor c=1": floor.perSecond(200, 1),
      "floor c=50": floor.perSecond(1_500, 50)
    },
    rounds
  )
  for (const engine of Object.values(engines)) engine.close()
  await server.stop()
  const ratio = (a, b) => values[a].median / values[b].median
  const table = [["", "/s", "to DBOS", "to the floor"]]
  for (const name of Object.keys(values)) {
    const c = name.endsWith("50") ? 50 : 1
    table.push([
      name,
      values[name].median.toFixed(0),
      `${ratio(name, `DBOS c=${c}`).toFixed(2)}x`,
      `${ratio(name, `floor c=${c}`).toFixed(2)}x`
    ])
  }
  const [alone, many, toFloor] = [
    ratio("ours c=1", "DBOS c=1"),
    ratio("ours c=50", "DBOS c=50"),
    ratio("ours c=50", "floor c=50")
  ]
  const goals = [
    goal("Postgres c=1: workflows to DBOS's", alone, { atLeast: 1 }),
    goal("Postgres c=50: workflows to DBOS's", many, { atLeast: 5 }),
    goal("Postgres c=50: workflows to the floor of six commits", toFloor, { atLeast: 0.9 })
  ]
  return { title, table, goals, values }
}
