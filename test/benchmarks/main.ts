/** Renews docs/benchmarks.svg and the table of docs/BENCHMARKS.md from bench/released.json: npm run bench:report. */
import * as fs from "node:fs"
import { goalsPlot, type Released, withTable } from "./plot.js"

const released: Released = JSON.parse(fs.readFileSync("bench/released.json", "utf8"))
const page = "docs/BENCHMARKS.md"
fs.writeFileSync("docs/benchmarks.svg", goalsPlot(released))
fs.writeFileSync(page, withTable(fs.readFileSync(page, "utf8"), released))
