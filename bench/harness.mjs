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

/**
 * Measures candidates in turn, round by round, so that a machine that slows
 * down slows all of them. Each round begins with another one, since who comes
 * first finds other caches than who follows. The first round warms up and does
 * not count.
 */
export const interleave = async (candidates, rounds) => {
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

export const printTable = (rows) => {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  for (const row of rows) {
    console.log(`  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ")}`)
  }
}

export const goal = (text, met) => ({ text, met })
