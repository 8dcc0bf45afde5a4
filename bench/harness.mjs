/** What every row needs: medians, ratios and a clock. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Seconds an async function takes. */
export const seconds = async (run) => {
  const start = process.hrtime.bigint()
  await run()
  return Number(process.hrtime.bigint() - start) / 1e9
}

/** `--rounds=1` of `run.mjs` has fewer: a figure sooner, and less exact. */
export const roundsOf = (rounds) => Math.min(rounds, Number(process.env.RECOVERY_BENCH_ROUNDS ?? rounds))

/**
 * Measures candidates in turn, round by round, so that a machine that slows
 * down slows all of them. Each round begins with another one, since who comes
 * first finds other caches than who follows. The first round warms up and does
 * not count.
 */
export const interleave = async (candidates, most) => {
  const rounds = roundsOf(most)
  const entries = Object.entries(candidates)
  const values = Object.fromEntries(entries.map(([name]) => [name, []]))
  for (let round = 0; round <= rounds; round++) {
    const first = round % entries.length
    for (const [name, measure] of [...entries.slice(first), ...entries.slice(0, first)]) {
      const value = await measure()
      if (round > 0) values[name].push(value)
    }
  }
  return Object.fromEntries(
    Object.entries(values).map(([name, all]) => [
      name,
      { median: median(all), min: Math.min(...all), max: Math.max(...all), rounds: all.length }
    ])
  )
}

export const temporaryFolder = () => fs.mkdtempSync(path.join(os.tmpdir(), "effect-recovery-bench-"))

/** The first columns are texts, the others numbers. */
export const printTable = (rows, texts = 1) => {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  for (const row of rows) {
    console.log(`  ${row.map((cell, i) => (i < texts ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ")}`)
  }
}

const text = (value, unit) => (unit === "x" ? `${value.toFixed(2)}x` : `${value.toFixed(value < 10 ? 2 : 0)} ${unit}`)

/**
 * A figure and its goal, `atLeast` or `atMost`. A figure in other units than `x` belongs to a machine: its ratio to
 * `beside`, a figure of the same run, is what is compared with the last release.
 */
export const goal = (what, today, { atLeast, atMost, unit = "x", beside = 1 }) => {
  const isMoreBetter = atLeast !== undefined
  const wanted = isMoreBetter ? atLeast : atMost
  return {
    what,
    today,
    todayText: text(today, unit),
    wanted: `${isMoreBetter ? "at least" : "at most"} ${wanted}${unit === "x" ? "x" : ` ${unit}`}`,
    ratio: today / beside,
    isMoreBetter,
    met: isMoreBetter ? today >= wanted : today <= wanted
  }
}
