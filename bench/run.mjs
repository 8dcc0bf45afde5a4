/**
 * Runs the rows named on the command line, or all of them: prints their
 * tables and writes `results/<date>.json`. Build the library first.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import { fileURLToPath } from "node:url"
import { printTable } from "./harness.mjs"

const all = ["b1", "b1p", "b1t", "b2", "b3", "b4", "b4p", "b4e", "b4w", "b5", "b6", "b6d", "b7", "b8", "b10", "b11"]
const wanted = process.argv.slice(2).length > 0 ? process.argv.slice(2) : all

const results = {}
for (const name of wanted) {
  const { run } = await import(`./rows/${name}.mjs`)
  const { goals, table, title, values } = await run()
  console.log(`\n${title}`)
  printTable(table)
  for (const { met, text } of goals) console.log(`  ${met ? "reached" : "MISSED "}  ${text}`)
  results[name] = { title, goals, values }
}

const folder = fileURLToPath(new URL("./results/", import.meta.url))
fs.mkdirSync(folder, { recursive: true })
const file = `${folder}${new Date().toISOString().replaceAll(":", "-")}.json`
const machine = { node: process.version, cpus: os.cpus().length, cpu: os.cpus()[0]?.model, platform: os.platform() }
fs.writeFileSync(file, `${JSON.stringify({ machine, results }, undefined, 2)}\n`)
console.log(`\n${file}`)
