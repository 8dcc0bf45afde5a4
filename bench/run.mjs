/**
 * Runs the rows named on the command line, or all that have a goal for storage, policies, size and start: prints their
 * tables, and at the end each figure with its goal and with the last release's. Each row runs in a process of its own.
 * Writes `results/<date>.json`; with `--record` the figures become those of the release, from which `npm run bench:report`
 * renews the page. With `--load` as many other processes compute as the machine has processors. Build the library first.
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
const [records, isLoaded] = [flags.includes("--record"), flags.includes("--load")]
const unknown = [
  ...named.filter((name) => !known.includes(name)),
  ...flags.filter((flag) => !["--record", "--load", `--rounds=${rounds}`].includes(flag))
]
if (unknown.length > 0) {
  console.error(
    `${unknown.join(", ")}: unknown. Rows: ${known.join(", ")}; --record keeps the figures as the release's; --load measures on a busy machine; --rounds=1 measures fewer times.`
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

const { version } = JSON.parse(fs.readFileSync(at("../package.json"), "utf8"))
/** The figures of the last release, on a quiet machine and on a loaded one. */
const before = fs.existsSync(at("released.json")) ? JSON.parse(fs.readFileSync(at("released.json"), "utf8")) : {}
let released = before
const place = isLoaded ? "loaded" : "quiet"

/** How much better or worse than the last release, above 1 is better. Nothing, if either is missing or 0. */
const toRelease = (name, { isMoreBetter, ratio, what }) => {
  const then = before[place]?.[name]?.goals.find((figure) => figure.what === what)?.ratio
  if (!(then > 0) || !(ratio > 0)) return "–"
  return `${(isMoreBetter ? ratio / then : then / ratio).toFixed(2)}x`
}

/** Rows that do not run keep what is on record. A run that is stopped keeps the rows it has measured. */
const record = (name, { goals, load, title }) => {
  const rows = { ...released[place], [name]: { title, day, load, machine, goals } }
  released = { version, quiet: released.quiet, loaded: released.loaded, [place]: rows }
  fs.writeFileSync(at("released.json"), `${JSON.stringify(released, undefined, 2)}\n`)
}

const folder = fs.mkdtempSync(`${os.tmpdir()}/effect-recovery-bench-run-`)
const results = {}
const failed = []
const release = before.version === undefined ? "no release" : `to ${before.version}`
const summary = [["", "figure", "goal", "today", release, ""]]

/** Others compute on every processor while the rows are measured. They end with this process, whatever ends it. */
const busy = `
  const parent = process.ppid
  for (;;) {
    for (let i = 0; i < 1e8; i++);
    if (process.ppid !== parent) process.exit()
  }
`
const others = isLoaded ? os.cpus().map(() => childProcess.spawn(process.execPath, ["-e", busy])) : []

const day = new Date().toISOString().slice(0, 10)
const machine = { node: process.version, cpus: os.cpus().length, cpu: os.cpus()[0]?.model, platform: os.platform() }
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
  results[name] = { ...found, seconds: took, load: Number(os.loadavg()[0].toFixed(1)) }
  if (records) record(name, results[name])
}
for (const other of others) other.kill()
fs.rmSync(folder, { recursive: true, force: true })

console.log(
  `\nAll figures. "${release}" is how many times as good as then, on a ${place} machine: peers' ratios, no times.\n`
)
printTable(summary, 2)

fs.mkdirSync(at("./results/"), { recursive: true })
const file = at(`./results/${new Date().toISOString().replaceAll(":", "-")}.json`)
fs.writeFileSync(file, `${JSON.stringify({ machine, place, results }, undefined, 2)}\n`)
console.log(`\n${file}`)
process.exitCode = failed.length > 0 ? 1 : 0
