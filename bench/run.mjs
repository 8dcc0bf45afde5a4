/**
 * Runs the rows named on the command line, or all that have a goal for storage, policies, size and start: prints their
 * tables, and at the end each figure with its goal and with the last release's. Each row runs in a process of its own.
 * Writes `results/<date>.json`; with `--record` the figures become those of the release. Build the library first.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import { fileURLToPath } from "node:url"
import { printTable } from "./harness.mjs"

/** What runs unless rows are named, cheap and quiet ones first. The others are `b1p`, `b1t`, `b7`, `b8`. */
const goals = ["b1", "b2", "b3", "b4", "b4p", "b4e", "b4w", "b5", "b6", "b6d", "b6g", "b9", "b10", "b11"]

const [flags, named] = [true, false].map((isFlag) => process.argv.slice(2).filter((a) => a.startsWith("--") === isFlag))
const at = (name) => fileURLToPath(new URL(name, import.meta.url))
const known = fs
  .readdirSync(at("./rows/"))
  .map((name) => /^(b\d+[a-z]?)\.mjs$/.exec(name)?.[1])
  .filter((name) => name !== undefined)
const rounds = flags.map((flag) => /^--rounds=(\d+)$/.exec(flag)?.[1]).find((one) => one !== undefined)
const unknown = [
  ...named.filter((name) => !known.includes(name)),
  ...flags.filter((flag) => flag !== "--record" && flag !== `--rounds=${rounds}`)
]
if (unknown.length > 0) {
  console.error(
    `${unknown.join(", ")}: unknown. Rows: ${known.join(", ")}; --record keeps the figures as the release's; --rounds=1 measures fewer times.`
  )
  process.exit(2)
}

const peers = Object.keys(JSON.parse(fs.readFileSync(at("package.json"), "utf8")).dependencies)
const missing = peers.filter(
  (name) => !fs.existsSync(at(`node_modules/${name}`)) && !fs.existsSync(at(`../node_modules/${name}`))
)
if (missing.length > 0)
  console.error(`Not installed, so their rows fail: ${missing.join(", ")}. \`npm run bench\` installs them.`)

const rowProgram = `
  const [row, file] = process.argv.slice(1)
  const { run } = await import(row)
  const { writeFileSync } = await import("node:fs")
  writeFileSync(file, JSON.stringify(await run()))
  process.exit(0)
`

/** A row that takes so many milliseconds hangs, also on a busy machine. */
const patience = 30 * 60_000

/** What a row found, or nothing if it failed: the rows after it run all the same. */
const measure = (name, folder) => {
  const file = `${folder}/${name}.json`
  const args = ["--input-type=module", "-e", rowProgram, at(`./rows/${name}.mjs`), file]
  const env = rounds === undefined ? process.env : { ...process.env, RECOVERY_BENCH_ROUNDS: rounds }
  const { status } = childProcess.spawnSync(process.execPath, args, { stdio: "inherit", env, timeout: patience })
  return status === 0 ? JSON.parse(fs.readFileSync(file, "utf8")) : undefined
}

const released = fs.existsSync(at("released.json"))
  ? JSON.parse(fs.readFileSync(at("released.json"), "utf8"))
  : undefined

/** How much better or worse than the last release, above 1 is better. Nothing, if either is missing or 0. */
const toRelease = (name, { isMoreBetter, ratio, what }) => {
  const before = released?.figures[`${name}: ${what}`]
  if (!(before > 0) || !(ratio > 0)) return "–"
  return `${(isMoreBetter ? ratio / before : before / ratio).toFixed(2)}x`
}

const folder = fs.mkdtempSync(`${os.tmpdir()}/effect-recovery-bench-run-`)
const results = {}
const failed = []
const summary = [["", "figure", "goal", "today", released ? `to ${released.version}` : "no release", ""]]
for (const name of named.length > 0 ? named : goals.filter((one) => known.includes(one))) {
  const began = performance.now()
  const found = measure(name, folder)
  const took = (performance.now() - began) / 1_000
  if (found === undefined) {
    failed.push(name)
    summary.push([name, "failed", "", "", "", "FAILED"])
    continue
  }
  console.log(`\n${found.title} (${took.toFixed(0)} s)`)
  printTable(found.table)
  for (const figure of found.goals) {
    const { met, todayText, wanted, what } = figure
    summary.push([name, what, wanted, todayText, toRelease(name, figure), met ? "reached" : "MISSED"])
  }
  results[name] = { ...found, seconds: took }
}
fs.rmSync(folder, { recursive: true, force: true })

console.log(
  `\nAll figures. "to ${released?.version ?? "release"}" is how many times as good as then: peers' ratios, no times.\n`
)
printTable(summary, 2)

const machine = { node: process.version, cpus: os.cpus().length, cpu: os.cpus()[0]?.model, platform: os.platform() }
if (flags.includes("--record")) {
  const { version } = JSON.parse(fs.readFileSync(at("../package.json"), "utf8"))
  const figures = Object.entries(results).flatMap(([name, { goals }]) =>
    goals.map(({ ratio, what }) => [`${name}: ${what}`, Number(ratio.toPrecision(4))])
  )
  // Rows that did not run keep what is on record.
  const all = { ...released?.figures, ...Object.fromEntries(figures) }
  fs.writeFileSync(at("released.json"), `${JSON.stringify({ version, machine, figures: all }, undefined, 2)}\n`)
}
fs.mkdirSync(at("./results/"), { recursive: true })
const file = at(`./results/${new Date().toISOString().replaceAll(":", "-")}.json`)
fs.writeFileSync(file, `${JSON.stringify({ machine, load: os.loadavg(), results }, undefined, 2)}\n`)
console.log(`\n${file}`)
process.exitCode = failed.length > 0 ? 1 : 0
