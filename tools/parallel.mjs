// Runs the npm scripts named on the command line, as many at once as there are processors, and prints the output of each when
// it ends. Those that take longest come first. Fails if one fails. A build among them reports what Effect's diagnostics find.
import { spawn } from "node:child_process"
import { availableParallelism } from "node:os"

const run = (script) =>
  new Promise((resolve) => {
    const env = { ...process.env, EFFECT_DIAGNOSTICS: "1" }
    const child = spawn("npm", ["run", "--silent", script], { env, shell: process.platform === "win32" })
    const output = []
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output.push(chunk))
    child.on("error", (error) => output.push(Buffer.from(`${script}: ${error.message}\n`)))
    child.on("close", (code) => {
      process.stdout.write(Buffer.concat(output))
      if (code !== 0) process.stderr.write(`npm run ${script} failed\n`)
      resolve(code === 0)
    })
  })

const waiting = process.argv.slice(2)

/** Takes one script after another. */
const lane = async () => {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    if (!(await run(next))) process.exitCode = 1
  }
}

await Promise.all(Array.from({ length: availableParallelism() }, lane))
