// Runs the npm scripts named on the command line at once, and prints the output of each when it ends. Fails if one fails.
import { spawn } from "node:child_process"

const run = (script) =>
  new Promise((resolve) => {
    const child = spawn("npm", ["run", "--silent", script], { shell: process.platform === "win32" })
    const output = []
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output.push(chunk))
    child.on("error", (error) => output.push(Buffer.from(`${script}: ${error.message}\n`)))
    child.on("close", (code) => {
      process.stdout.write(Buffer.concat(output))
      if (code !== 0) process.stderr.write(`npm run ${script} failed\n`)
      resolve(code === 0)
    })
  })

const passed = await Promise.all(process.argv.slice(2).map(run))
if (passed.includes(false)) process.exitCode = 1
