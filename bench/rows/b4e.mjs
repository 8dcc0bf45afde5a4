/**
 * B4e: the same stock workflow of four activities per second on Postgres, alone
 * and fifty at a time: on our engine and on the single runner of @effect/cluster.
 */
import * as childProcess from "node:child_process"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { goal, interleave } from "../harness.mjs"
import { startPostgres } from "../postgres.mjs"

const rounds = 5
const program = fileURLToPath(new URL("./b4e-child.mjs", import.meta.url))

const start = (engine, url) => {
  const child = childProcess.spawn(process.execPath, [program, engine, url], { stdio: ["pipe", "pipe", "inherit"] })
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    perSecond: (count, concurrency) => async () => {
      child.stdin.write(`${count} ${concurrency}\n`)
      const { done, value } = await lines.next()
      if (done) throw new Error(`${engine} ended`)
      return Number(value)
    },
    close: () => child.stdin.end()
  }
}

export const run = async () => {
  const server = await startPostgres()
  const title = "B4e  stock workflows of 4 activities per second on Postgres"
  if (server === undefined)
    return { title: `${title}: skipped, no server programs`, table: [[""]], goals: [], values: {} }
  const engines = {}
  for (const name of ["ours", "theirs"]) engines[name] = start(name, await server.createDatabase(`bench_${name}`))
  const { ours, theirs } = engines
  const values = await interleave(
    {
      "ours c=1": ours.perSecond(100, 1),
      "ours c=50": ours.perSecond(500, 50),
      "SingleRunner c=1": theirs.perSecond(20, 1),
      "SingleRunner c=50": theirs.perSecond(100, 50)
    },
    rounds
  )
  for (const engine of Object.values(engines)) engine.close()
  await server.stop()
  const ratio = (a, b) => values[a].median / values[b].median
  const table = [["", "/s", "to SingleRunner"]]
  for (const name of Object.keys(values)) {
    const theirs = `SingleRunner c=${name.endsWith("50") ? 50 : 1}`
    table.push([name, values[name].median.toFixed(0), `${ratio(name, theirs).toFixed(2)}x`])
  }
  const [alone, many] = [ratio("ours c=1", "SingleRunner c=1"), ratio("ours c=50", "SingleRunner c=50")]
  const goals = [
    goal("Postgres c=1: stock workflows to SingleRunner's", alone, { atLeast: 2 }),
    goal("Postgres c=50: stock workflows to SingleRunner's", many, { atLeast: 3 })
  ]
  return { title, table, goals, values }
}
