/**
 * Compares two built checkouts in one run: `node bench/paired.mjs OTHER b1 b3 b4`
 * runs each row in this checkout and in OTHER by turns, three times, and prints
 * for every figure the median of the ratios this/other. Above 1 means more
 * (calls per second, or time: the row's own table says which).
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { median, printTable } from "./harness.mjs"

const rounds = 3
const [other, ...rows] = process.argv.slice(2)
if (other === undefined || rows.length === 0) {
  console.error("usage: node bench/paired.mjs OTHER_CHECKOUT ROW...")
  process.exit(2)
}
const checkouts = { this: fileURLToPath(new URL("..", import.meta.url)), other: path.resolve(other) }

/** All medians of a row's values, by their path. */
const figures = (value, at = "") =>
  Object.entries(value).flatMap(([key, inner]) => {
    if (key === "median" && typeof inner === "number") return [[at, inner]]
    return typeof inner === "object" && inner !== null ? figures(inner, at === "" ? key : `${at} ${key}`) : []
  })

const measure = (checkout, row) => {
  const output = childProcess.execFileSync(process.execPath, [path.join(checkout, "bench/run.mjs"), row], {
    cwd: checkout,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"]
  })
  const file = output.trim().split("\n").at(-1)
  return Object.fromEntries(figures(JSON.parse(fs.readFileSync(file, "utf8")).results[row].values))
}

for (const row of rows) {
  const seen = []
  for (let round = 0; round < rounds; round++) {
    // By turns, and each round begins with the other one: the machine's drift then favours neither.
    const order = round % 2 === 0 ? ["this", "other"] : ["other", "this"]
    const pair = {}
    for (const name of order) pair[name] = measure(checkouts[name], row)
    seen.push(pair)
  }
  const table = [[row, "other", "this", "this/other", "lowest", "highest"]]
  for (const name of Object.keys(seen[0].this)) {
    const ratios = seen.map((pair) => pair.this[name] / pair.other[name])
    const of = (checkout) => median(seen.map((pair) => pair[checkout][name])).toPrecision(4)
    const ratio = (value) => `${value.toFixed(2)}x`
    const spread = [Math.min(...ratios), Math.max(...ratios)].map(ratio)
    table.push([name, of("other"), of("this"), ratio(median(ratios)), ...spread])
  }
  console.log("")
  printTable(table)
}
