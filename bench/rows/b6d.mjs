/** B6, second half: what an operator looks at, with ten thousand recoveries in the database and with a million. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import Sqlite from "better-sqlite3"
import { Operator } from "../../dist/node/operate.js"
import { SqliteStorage } from "../../dist/node/sqlite.js"
import { goal, interleave, temporaryFolder } from "../harness.mjs"

const child = fileURLToPath(new URL("./b6d-child.mjs", import.meta.url))

const categories = ["network", "timeout", "build", "testing", "dependency"]
const types = ["retry", "resume", "rollback"]

/**
 * The first ones are made as any program makes them; the others are copies of
 * their rows, since a million would take an hour of fsyncs. Counters hold what
 * the copies would have added.
 */
const fill = async (filename, recoveries, runs) => {
  const operator = Operator.define({
    storage: SqliteStorage.layer({ filename, durability: "process-crash" })
  })()
  const labels = { repository: "shop", commit: "abc" }
  const made = await operator.ask({ _tag: "Report", id: "failure_0", message: "connection refused", labels })
  if (!made.ok) throw new Error(made.message)
  await operator.close()
  const database = new Sqlite(filename)
  const body = (i) =>
    JSON.stringify({
      type: types[i % 3],
      by: "program",
      run: `run-${i % runs}`,
      step: "compile",
      category: categories[i % 5],
      fingerprint: `${categories[i % 5]}-${i % 500}`,
      message: "connection refused",
      attempts: 2,
      plan: [],
      progress: [],
      corruptionDetected: false
    })
  const record = database.prepare(
    `INSERT INTO recovery_records (kind, id, subject, scope, status, labels, at, updated_at, revision, body)
     VALUES ('recovery', ?, '', 'shop', ?, '{}', ?, ?, 1, ?)`
  )
  const run = database.prepare(
    `INSERT INTO recovery_runs (id, workflow, version, input, labels, created_at, due_at, token, status, exit, finished_at)
     VALUES (?, 'build', '1', '{}', '{}', ?, ?, 1, 'completed', '{}', ?)`
  )
  const counter = database.prepare(
    "INSERT INTO recovery_counters (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
  )
  const counts = new Map()
  const count = (name) => counts.set(name, (counts.get(name) ?? 0) + 1)
  database.transaction(() => {
    for (let i = 0; i < runs; i++) run.run(`run-${i}`, i, i, i)
    for (let i = 0; i < recoveries; i++) {
      const isGood = i % 7 !== 0
      const status = isGood ? "completed" : "failed"
      record.run(`recovery_${i}`, status, i, i, body(i))
      const [type, category, how] = [types[i % 3], categories[i % 5], isGood ? "good" : "bad"]
      count(`recoveries/shop/${type}/${status}`)
      for (const [level, what] of [
        ["all", ""],
        ["category", category],
        ["step", `compile-${i % 40}`],
        ["fingerprint", `${category}-${i % 500}`]
      ]) {
        count(`learned/${level}/${what}/${type}/${how}`)
      }
      count(`times/recovery/bucket/${String(i % 80).padStart(3, "0")}`)
      count(`times/step/compile-${i % 40}/bucket/${String(i % 60).padStart(3, "0")}`)
    }
    for (const [name, value] of counts) for (let i = 0; i < Math.min(value, 1); i++) counter.run(name)
    const set = database.prepare("UPDATE recovery_counters SET value = ? WHERE name = ?")
    for (const [name, value] of counts) set.run(value, name)
  })()
  database.close()
}

const requests = [
  { _tag: "Dashboard", repository: "shop" },
  { _tag: "Statistics" },
  { _tag: "Suggest", failure: "failure_0" },
  { _tag: "Runs", limit: 50 },
  // What the page and `--watch` ask each second.
  { _tag: "Overview" }
]

const ask = (filename) => () =>
  JSON.parse(
    childProcess.execFileSync(process.execPath, [child, filename, ...requests.map((one) => JSON.stringify(one))], {
      encoding: "utf8"
    })
  )

const browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(fs.existsSync)

/** How soon the page shows its first numbers; nothing, where there is no browser. */
const page = (filename) =>
  browser &&
  JSON.parse(
    childProcess.execFileSync(
      process.execPath,
      [fileURLToPath(new URL("./b6d-page.mjs", import.meta.url)), filename, browser],
      {
        encoding: "utf8"
      }
    )
  )

export const run = async () => {
  const folder = temporaryFolder()
  const sizes = { "10,000": [10_000, 1_000], "1,000,000": [1_000_000, 100_000] }
  const asks = {}
  for (const [name, [recoveries, runs]] of Object.entries(sizes)) {
    const filename = path.join(folder, `${recoveries}.db`)
    await fill(filename, recoveries, runs)
    asks[name] = ask(filename)
  }
  const empty = () => Object.fromEntries(requests.map(({ _tag }) => [_tag, []]))
  const all = Object.fromEntries(Object.keys(sizes).map((name) => [name, empty()]))
  await interleave(
    Object.fromEntries(
      Object.entries(asks).map(([name, measure]) => [
        name,
        async () => {
          for (const [tag, millis] of Object.entries(measure())) all[name][tag].push(millis)
          return 0
        }
      ])
    ),
    7
  )
  const shown = page(path.join(folder, "1000000.db"))
  fs.rmSync(folder, { recursive: true, force: true })
  const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1]
  const rows = requests.map(({ _tag }) => [_tag, ...Object.keys(sizes).map((name) => median(all[name][_tag]))])
  return {
    title: "B6  what an operator looks at, by the number of recoveries (a tenth as many runs)",
    table: [
      ["", ...Object.keys(sizes)],
      ...rows.map(([tag, small, large]) => [tag, `${small.toFixed(2)} ms`, `${large.toFixed(2)} ms`]),
      ["the page, from its address to its first numbers", "", shown ? `${shown.median.toFixed(0)} ms` : "no browser"]
    ],
    goals: [
      ...rows.map(([tag, small, large]) =>
        goal(`${tag} at 1,000,000 recoveries, time to that at 10,000`, large / small, { atMost: 1.2 })
      ),
      ...(shown
        ? [
            goal("the page at 1,000,000 recoveries, to its first numbers", shown.first, {
              atMost: 1_000,
              unit: "ms",
              beside: shown.median
            })
          ]
        : [])
    ],
    values: { ...all, page: shown }
  }
}
