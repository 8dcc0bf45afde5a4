/**
 * B4w: queued runs claimed and finished per second by one, two, four and eight
 * worker processes that share a storage, on SQLite and on Postgres.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { goal, median, temporaryFolder } from "../harness.mjs"
import { startPostgres } from "../postgres.mjs"

const rounds = 3
const queued = 2_000
const program = fileURLToPath(new URL("./b4w-child.mjs", import.meta.url))

const spawn = (...args) => {
  const child = childProcess.spawn(process.execPath, [program, ...args], { stdio: ["pipe", "pipe", "inherit"] })
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    line: async () => {
      const { done, value } = await lines.next()
      if (done) throw new Error(`${args.join(" ")} ended`)
      return value
    },
    tell: (text) => child.stdin.write(`${text}\n`),
    stop: () => new Promise((resolve) => child.once("exit", resolve).kill("SIGKILL"))
  }
}

/** Queues the runs, lets the workers begin together, and waits until all runs have an outcome. */
const measure = async (kind, target, workers) => {
  const starter = spawn(kind, target, "start", String(queued))
  await starter.line()
  const running = Array.from({ length: workers }, () => spawn(kind, target, "work"))
  for (const worker of running) await worker.line()
  const begin = process.hrtime.bigint()
  for (const worker of running) worker.tell("go")
  starter.tell("await")
  await starter.line()
  const perSecond = queued / (Number(process.hrtime.bigint() - begin) / 1e9)
  await Promise.all([...running, starter].map((child) => child.stop()))
  return perSecond
}

export const run = async () => {
  const server = await startPostgres()
  const folder = temporaryFolder()
  const kinds = ["sqlite", ...(server === undefined ? [] : ["pg"])]
  const counts = [1, 2, 4, 8]
  const values = Object.fromEntries(kinds.flatMap((kind) => counts.map((count) => [`${kind} ${count}`, []])))
  let fresh = 0
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) {
      for (const workers of counts) {
        const name = `b4w_${++fresh}`
        const target = kind === "pg" ? await server.createDatabase(name) : path.join(folder, `${name}.db`)
        values[`${kind} ${workers}`].push(await measure(kind, target, workers))
      }
    }
  }
  await server?.stop()
  fs.rmSync(folder, { recursive: true, force: true })
  const medians = Object.fromEntries(Object.entries(values).map(([name, all]) => [name, median(all)]))
  const table = [["runs per second", ...counts.map((count) => `${count} workers`)]]
  for (const kind of kinds) table.push([kind, ...counts.map((count) => medians[`${kind} ${count}`].toFixed(0))])
  const goals = [goal(`SQLite, 2 workers: 460 a second: ${medians["sqlite 2"].toFixed(0)}`, medians["sqlite 2"] >= 460)]
  if (server !== undefined) {
    const toOne = medians["pg 8"] / medians["pg 1"]
    goals.push(goal(`Postgres: 8 workers at least as fast as 1: ${toOne.toFixed(2)}x`, toOne >= 1))
  }
  return { title: "B4w  queued runs claimed and finished per second", table, goals, values: medians }
}
