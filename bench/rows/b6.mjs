/** B6: resuming runs of many completed steps, in a new process: how the time grows, and the memory with the results. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { goal, interleave, temporaryFolder } from "../harness.mjs"

const child = fileURLToPath(new URL("./b6-child.mjs", import.meta.url))

const tell = (...args) =>
  JSON.parse(
    childProcess.execFileSync(process.execPath, ["--expose-gc", child, ...args.map(String)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"]
    })
  )

/** Made once; each resume gets a copy, since a resumed run is finished. */
const prepared = (folder, count, size) => {
  const made = path.join(folder, `${count}-${size}.db`)
  tell(made, "make", count, size)
  let copies = 0
  return (mode) => {
    const copy = `${made}.${++copies}`
    for (const suffix of ["", "-wal"]) {
      if (fs.existsSync(made + suffix)) fs.copyFileSync(made + suffix, copy + suffix)
    }
    return tell(copy, mode, count, size)
  }
}

const counts = [1_000, 5_000, 10_000, 20_000]
const sizes = [10, 1_000, 10_000]

export const run = async () => {
  const folder = temporaryFolder()
  const resumes = Object.fromEntries(counts.map((count) => [count, prepared(folder, count, 10)]))
  const times = await interleave(
    Object.fromEntries(counts.map((count) => [count, async () => resumes[count]("resume").millis])),
    5
  )
  const memory = await interleave(
    Object.fromEntries(
      sizes.map((size) => {
        const resume = prepared(folder, 10_000, size)
        return [size, async () => resume("memory").bytes / 1e6]
      })
    ),
    3
  )
  fs.rmSync(folder, { recursive: true, force: true })
  const per = (count) => times[count].median / (count / 1_000)
  const megabytes = (size) => memory[size].median
  return {
    title: "B6  resume of a run with many completed steps, in a new process",
    table: [
      ["", "median", "per 1,000 steps"],
      ...counts.map((count) => [
        `${count} steps`,
        `${times[count].median.toFixed(0)} ms`,
        `${per(count).toFixed(1)} ms`
      ]),
      ["", "heap at most, above the start", "results in all"],
      ...sizes.map((size) => [
        `10000 results of ${size} B`,
        `${megabytes(size).toFixed(1)} MB`,
        `${((size * 10_000) / 1e6).toFixed(1)} MB`
      ])
    ],
    goals: [
      goal("20,000 steps resumed, time of each to that at 5,000", per(20_000) / per(5_000), { atMost: 1.25 }),
      goal("10,000 steps resumed, per 1,000", per(10_000), { atMost: 100, unit: "ms", beside: per(1_000) }),
      goal("memory at results of 10 KB to that at 10 B", megabytes(10_000) / megabytes(10), { atMost: 1.5 })
    ],
    values: { times, memory }
  }
}
