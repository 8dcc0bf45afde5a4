/** Serves the page of a database and tells how long a browser takes until it shows the first numbers, in milliseconds. */
import * as childProcess from "node:child_process"
import * as readline from "node:readline"
import { chromium } from "playwright-core"

const [filename, executablePath] = process.argv.slice(2)
const server = childProcess.spawn(process.execPath, [
  ...["dist/recovery.mjs", "dashboard", "--web", "--port", "0", "--json", "--database", filename]
])
const [line] = await new Promise((resolve) =>
  readline.createInterface({ input: server.stdout }).once("line", (line) => resolve([line]))
)
const { token, url } = JSON.parse(line)
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] })
const times = []
for (let i = 0; i < 5; i++) {
  const page = await browser.newPage()
  const started = performance.now()
  await page.goto(`${url}/#token=${token}`)
  await page.locator(".tile").first().waitFor()
  times.push(performance.now() - started)
  await page.close()
}
await browser.close()
server.kill("SIGTERM")
console.log(JSON.stringify({ first: times[0], median: times.sort((a, b) => a - b)[2] }))
