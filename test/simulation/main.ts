import * as fs from "node:fs"
import type * as Costs from "./measureCosts.js"
import { plotsOf } from "./plots.js"
import { type Figures, type ScaleOptions, simulateScale } from "./scale.js"
import { simulate } from "./scenarios.js"

/** Where the page on scale has its figures and plots. */
const folder = "docs/scale"

const write = (name: string, text: string): void => {
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(`${folder}/${name}`, text)
}

const json = (value: unknown): string =>
  `${JSON.stringify(value, (_, one) => (typeof one === "number" ? Number(one.toPrecision(4)) : one), 2)}\n`

/** Small fleets with all faults, seed by seed. Prints each that went wrong, and its events if it is the only one. */
const seeds = async (from: number, to: number): Promise<void> => {
  let wrong = 0
  for (let seed = from; seed <= to; seed++) {
    const { faults, lines } = await simulate(seed, { isRecorded: from === to })
    if (from === to) console.log(lines.join("\n"))
    if (faults.length === 0) continue
    wrong++
    console.log(`seed ${seed}:\n  ${faults.join("\n  ")}`)
  }
  console.log(`${to - from + 1} seeds, ${wrong} with a fault`)
  if (wrong > 0) process.exitCode = 1
}

/** Seconds of starts in each simulation of the page. */
const length = Number(process.env["SECONDS"] ?? 5)

const small = { cores: 4, rate: 100 }
const plans: Readonly<Record<string, ReadonlyArray<Omit<ScaleOptions, "runs">>>> = {
  workers: [false, true].flatMap((hasNews) => [5, 20, 50, 100, 200].map((workers) => ({ ...small, workers, hasNews }))),
  rates: [1, 2, 4].flatMap((cores) =>
    [50, 100, 200, 400].map((rate) => ({ cores, rate, workers: 20, hasNews: false }))
  ),
  crashes: [{ ...small, workers: 20, hasNews: true, crashes: 4 }]
}

/** Simulates what the page on scale shows. One simulation alone: `scale workers runs rate cores news sweep`. */
const scale = async (args: ReadonlyArray<number>): Promise<void> => {
  const [workers, runs, rate = 100, cores = 4, news = 0, sweep = 1_000] = args
  if (workers !== undefined && runs !== undefined) {
    console.log(json(await simulateScale(1, { workers, runs, rate, cores, hasNews: news === 1, sweep })))
    return
  }
  const figures: Record<string, Array<Figures>> = {}
  for (const [name, ones] of Object.entries(plans)) {
    figures[name] = []
    for (const one of ones) {
      const seconds = "crashes" in one ? 5 * length : length
      const measured = await simulateScale(1, { ...one, runs: one.rate * seconds })
      console.log(name, measured.workers, measured.rate, measured.cores, measured.claimsPerRun, measured.busy)
      figures[name].push(measured)
      // One that is stopped keeps what it has.
      write("figures.json", json(figures))
    }
  }
  plots()
}

const plots = (): void => {
  const figures = JSON.parse(fs.readFileSync(`${folder}/figures.json`, "utf8"))
  for (const [name, text] of Object.entries(plotsOf(figures))) write(name, text)
}

const [command, ...rest] = process.argv.slice(2)
const numbers = rest.map(Number)
switch (command) {
  case "seeds":
    await seeds(numbers[0] ?? 1, numbers[1] ?? numbers[0] ?? 10_000)
    break
  case "scale":
    await scale(numbers)
    break
  case "plots":
    plots()
    break
  case "costs": {
    // Only this command needs Postgres and its client.
    const { measureCosts }: typeof Costs = await import("./measureCosts.js")
    write("costs.json", json(await measureCosts()))
    process.exit(0)
    break
  }
  default:
    console.log("node tools/simulate.mjs seeds [from] [to] | scale [workers runs rate cores news] | plots | costs")
}
