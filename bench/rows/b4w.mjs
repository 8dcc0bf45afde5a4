/**
 * B4w: runs claimed and finished per second by one, two, four and eight worker
 * processes that share a storage, on SQLite and on Postgres; and by two workers
 * from a backlog of a queue with fifty keys. On Postgres also by one and eight
 * processes that have finished 1,000 runs before: a new process compiles for as
 * long as 100 runs take it.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { goal, median, roundsOf, temporaryFolder } from "../harness.mjs"
import { startPostgres } from "../postgres.mjs"

const rounds = roundsOf(3)
const started = 1_000
const backlog = { runs: 10_000, keys: 50, first: 0 }
const warmed = { runs: 6_000, keys: 0, first: 1_000 }
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

/** Queues the runs, lets the workers begin together, and measures from the end of the `first` runs to that of all. */
const measure = async (kind, target, workers, { first, keys, runs } = { runs: started, keys: 0, first: 0 }) => {
  const starter = spawn(kind, target, "start", String(runs), String(keys), String(first))
  await starter.line()
  const running = Array.from({ length: workers }, () => spawn(kind, target, "work"))
  for (const worker of running) await worker.line()
  let begin = process.hrtime.bigint()
  for (const worker of running) worker.tell("go")
  starter.tell("await")
  if (first > 0) {
    await starter.line()
    begin = process.hrtime.bigint()
  }
  await starter.line()
  const perSecond = (runs - first) / (Number(process.hrtime.bigint() - begin) / 1e9)
  await Promise.all([...running, starter].map((child) => child.stop()))
  return perSecond
}

export const run = async () => {
  const server = await startPostgres()
  const folder = temporaryFolder()
  const kinds = ["sqlite", ...(server === undefined ? [] : ["pg"])]
  const counts = [1, 2, 4, 8]
  const values = Object.fromEntries(kinds.flatMap((kind) => counts.map((count) => [`${kind} ${count}`, []])))
  for (const kind of kinds) values[`${kind} queue`] = []
  if (server !== undefined) Object.assign(values, { "pg 1 warm": [], "pg 8 warm": [] })
  let fresh = 0
  const targetOf = async (kind) => {
    const name = `b4w_${++fresh}`
    return kind === "pg" ? await server.createDatabase(name) : path.join(folder, `${name}.db`)
  }
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) {
      for (const workers of counts) {
        values[`${kind} ${workers}`].push(await measure(kind, await targetOf(kind), workers))
      }
      // On Postgres it has no goal, and takes long.
      if (kind === "sqlite" || round === 0) {
        values[`${kind} queue`].push(await measure(kind, await targetOf(kind), 2, backlog))
      }
    }
    if (server !== undefined) {
      for (const count of [1, 8]) {
        values[`pg ${count} warm`].push(await measure("pg", await targetOf("pg"), count, warmed))
      }
    }
  }
  await server?.stop()
  fs.rmSync(folder, { recursive: true, force: true })
  const medians = Object.fromEntries(Object.entries(values).map(([name, all]) => [name, median(all)]))
  const table = [["runs per second", ...counts.map((count) => `${count} workers`), "queue of 10,000, 2 workers"]]
  for (const kind of kinds) {
    table.push([kind, ...[...counts, "queue"].map((column) => medians[`${kind} ${column}`].toFixed(0))])
  }
  const goals = ["2", "queue"].map((column) => {
    const found = medians[`sqlite ${column}`]
    return goal(`SQLite, 2 workers${column === "2" ? "" : ", a queue of 10,000"}: runs`, found, {
      atLeast: 460,
      unit: "a second",
      beside: medians["sqlite 1"]
    })
  })
  if (server !== undefined) {
    for (const warm of ["", " warm"]) {
      const what = `Postgres, 8 ${warm === "" ? "new" : "warm"} workers: runs to those of 1`
      goals.push(goal(what, medians[`pg 8${warm}`] / medians[`pg 1${warm}`], { atLeast: 1 }))
    }
    table.push(["pg, warm", medians["pg 1 warm"].toFixed(0), "", "", medians["pg 8 warm"].toFixed(0), ""])
  }
  return { title: "B4w  queued runs claimed and finished per second", table, goals, values: medians }
}
