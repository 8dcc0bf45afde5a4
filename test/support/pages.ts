import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Browser, type BrowserContextOptions, chromium } from "playwright-core"

const executable = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(fs.existsSync)

/** For each thing that the page is to show: it meets a hang, not a busy machine. */
const patienceMillis = 300_000

/** Without a browser the other tests can run; CI must have one. */
export const isSkipped = executable === undefined && process.env.CI === undefined

const binary = path.resolve("dist/recovery.mjs")

/** The command line serves the page of a database. */
export const serve = (database: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn(process.execPath, [
        ...[binary, "dashboard", "--web", "--port", "0", "--json", "--database", database],
        ...args
      ])
      const [line] = await new Promise<[string]>((resolve) =>
        readline.createInterface({ input: child.stdout }).once("line", (line) => resolve([line]))
      )
      const { token, url } = JSON.parse(line) as { readonly token: string; readonly url: string }
      return { child, url, link: `${url}/#token=${token}` }
    }),
    ({ child }) =>
      Effect.promise(() => {
        const ended = new Promise((resolve) => child.once("exit", resolve))
        child.kill("SIGTERM")
        return ended
      })
  )

export const browser: Effect.Effect<Browser, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(() =>
    chromium.launch({ executablePath: executable ?? "chromium", args: ["--no-sandbox"], timeout: patienceMillis })
  ),
  (browser) => Effect.promise(() => browser.close())
)

/** A page. When it is closed, its console must be without errors. */
export const open = (browser: Browser, link: string, options: BrowserContextOptions = {}) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const page = await browser.newPage(options)
        page.setDefaultTimeout(patienceMillis)
        const complaints: Array<string> = []
        // A refusal is a valid response.
        const isRefusal = (text: string) => /status of 4\d\d/.test(text)
        page.on("console", (message) => {
          if (message.type() === "error" && !isRefusal(message.text())) complaints.push(message.text())
        })
        page.on("pageerror", (error) => complaints.push(error.message))
        page.on("request", (request) => {
          if (!request.url().startsWith(new URL(link).origin)) complaints.push(`asked ${request.url()}`)
        })
        await page.goto(link)
        return { page, complaints }
      }),
      ({ complaints, page }) =>
        Effect.promise(async () => {
          assert.strictEqual(await page.title(), "Recovery")
          await page.close()
          assert.deepStrictEqual(complaints, [])
        })
    ),
    ({ page }) => page
  )

export const on = <P, A>(page: P, what: (page: P) => Promise<A>) => Effect.promise(() => what(page))
