/** B5: from the start of a new process to the result of a run that was killed with SIGKILL in step 2. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { goal, interleave, seconds, temporaryFolder } from "../harness.mjs"

const child = fileURLToPath(new URL("./b5-child.mjs", import.meta.url))

/** Starts a child and answers with its first line. */
const firstLine = (args, kill) =>
  new Promise((resolve, reject) => {
    const started = childProcess.spawn(process.execPath, [child, ...args], { stdio: ["ignore", "pipe", "inherit"] })
    let line
    readline.createInterface({ input: started.stdout }).once("line", (first) => {
      line = first
      if (kill) started.kill("SIGKILL")
    })
    started.on("close", () => (line === undefined ? reject(new Error("the child said nothing")) : resolve(line)))
  })

const resume = (engine) => async () => {
  const folder = temporaryFolder()
  const args = [engine, path.join(folder, "runs.db")]
  await firstLine([...args, "hang"], true)
  let line
  const time = await seconds(async () => {
    line = await firstLine([...args, "finish"], false)
  })
  fs.rmSync(folder, { recursive: true, force: true })
  if (line !== "sum 10") throw new Error(`${engine} answered ${line}`)
  return time * 1_000
}

export const run = async () => {
  const values = await interleave({ ours: resume("ours"), "@effect/workflow": resume("theirs") }, 5)
  const ours = values.ours.median
  const theirs = values["@effect/workflow"].median
  return {
    title: "B5  from process start to the result, after SIGKILL in step 2",
    table: [
      ["", "median", "min", "max"],
      ...Object.entries(values).map(([name, value]) => [
        name,
        ...[value.median, value.min, value.max].map((ms) => `${ms.toFixed(0)} ms`)
      ])
    ],
    goals: [goal("start to result after SIGKILL, time to @effect/workflow's", ours / theirs, { atMost: 0.5 })],
    values
  }
}
