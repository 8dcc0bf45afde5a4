/** Draws the latest figures of each row in bench/results as docs/benchmarks.svg: npm run bench:plot. */
import * as fs from "node:fs"
import { goalsPlot, type Results } from "./plot.js"

const folder = "bench/results/"
const measured = fs
  .readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .sort()
  .map((name) => ({ day: name.slice(0, 10), run: JSON.parse(fs.readFileSync(folder + name, "utf8")) as Results }))
fs.writeFileSync("docs/benchmarks.svg", goalsPlot(measured))
