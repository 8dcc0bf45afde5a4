// Checks the built site: code of other libraries compiles, each link and anchor leads somewhere, and in a real browser pages have
// no violation of accessibility, fit a narrow screen, and are used by keyboard. Without a Chromium on the PATH the browser is left out.
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const site = fileURLToPath(new URL(".", import.meta.url))
const dist = path.join(site, ".vitepress/dist")
const base = process.env.SITE_BASE ?? "/"
const problems = []

// ---- code of other libraries

const tsc = path.join(site, "../node_modules/typescript/bin/tsc")
const compiled = spawnSync(process.execPath, [tsc, "-p", path.join(site, "theirs")], { encoding: "utf8" })
if (compiled.status !== 0) problems.push(compiled.stdout)

// ---- links

const pages = fs
  .readdirSync(dist, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll(path.sep, "/"))
  .filter((file) => file.endsWith(".html"))
const htmlOf = new Map(pages.map((page) => [page, fs.readFileSync(path.join(dist, page), "utf8")]))
const idsOf = new Map(
  [...htmlOf].map(([page, html]) => [page, new Set([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id))])
)

/** The file that an address of the site leads to. */
const fileOf = (pathname) => {
  const file = decodeURIComponent(pathname.slice(base.length))
  if (file === "" || file.endsWith("/")) return `${file}index.html`
  return path.posix.extname(file) === "" ? `${file}.html` : file
}

let links = 0
for (const [page, html] of htmlOf) {
  for (const [, href] of html.matchAll(/<a [^>]*?href="([^"]+)"/g)) {
    const { hash, origin, pathname } = new URL(href.replaceAll("&amp;", "&"), `http://site${base}${page}`)
    if (origin !== "http://site") continue
    links++
    const file = fileOf(pathname)
    if (!fs.existsSync(path.join(dist, file))) problems.push(`${page}: there is no ${href}`)
    else if (hash !== "" && idsOf.has(file) && !idsOf.get(file).has(decodeURIComponent(hash.slice(1)))) {
      problems.push(`${page}: ${file} has no anchor ${hash}`)
    }
  }
}
console.log(`${pages.length} pages, ${links} links`)

// ---- browser

const chromium = ["chromium", "chromium-browser", "google-chrome"]
  .map((name) => spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim())
  .find((file) => file !== "")

const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2"
}

const serve = () =>
  new Promise((resolve) => {
    const server = http.createServer(({ url }, response) => {
      const file = path.join(dist, fileOf(new URL(url, "http://site").pathname))
      if (!file.startsWith(dist) || !fs.existsSync(file)) return response.writeHead(404).end()
      response.writeHead(200, { "content-type": types[path.extname(file)] ?? "application/octet-stream" })
      fs.createReadStream(file).pipe(response)
    })
    server.listen(0, "127.0.0.1", () =>
      resolve({ server, address: `http://127.0.0.1:${server.address().port}${base}` })
    )
  })

const looked = [
  "index",
  "start",
  "examples",
  "concepts/replay",
  "policies/index",
  "durable/storage",
  "reference/errors",
  "reference/options",
  "api/Workflow"
]

/** Accessibility and width of a page, in one colour scheme and at one width. */
const look = async (browser, address, name, width, colorScheme) => {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } })
  try {
    const page = await context.newPage()
    page.on("pageerror", (error) => problems.push(`${name}: ${error.message}`))
    await page.goto(`${address}${name}.html`)
    await page.evaluate(fs.readFileSync(path.join(site, "node_modules/axe-core/axe.min.js"), "utf8"))
    const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }))
    for (const { help, id, nodes } of violations) {
      problems.push(
        `${name} (${colorScheme}, ${width}): ${id}: ${help}: ${nodes
          .slice(0, 3)
          .map(({ html }) => html.slice(0, 160))
          .join(" | ")}`
      )
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    if (wide > 0) problems.push(`${name} (${width}): is ${wide} pixels too wide`)
  } finally {
    await context.close()
  }
}

/** The element that has the focus: its text, and whether one sees that it has it. */
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement
    if (element === null || element === document.body) return undefined
    const { bottom, height, left, right, top, width } = element.getBoundingClientRect()
    const { boxShadow, outlineStyle, outlineWidth } = getComputedStyle(element)
    const isMarked = (outlineStyle !== "none" && Number.parseFloat(outlineWidth) > 0) || boxShadow !== "none"
    const isWithin = right > 0 && left < innerWidth && bottom > 0 && top < innerHeight
    const text = (element.getAttribute("aria-label") ?? element.textContent ?? "").trim().slice(0, 40)
    return { text, isVisible: isMarked && isWithin && width > 0 && height > 0 }
  })

/** Each stop of Tab on the first page is within the screen and marked. */
const walkByTab = async (page, address) => {
  await page.goto(address)
  const seen = []
  for (let stops = 0; stops < 200; stops++) {
    await page.keyboard.press("Tab")
    const stop = await focused(page)
    if (stop === undefined) break
    seen.push(stop.text)
    if (!stop.isVisible) problems.push(`the focus on "${stop.text}" is not visible at 320 pixels`)
  }
  if (seen.length < 10) problems.push(`Tab stops only at ${seen.join(", ")}`)
}

/** Moves the focus by Tab to an element of this selector. */
const tabTo = async (page, selector) => {
  for (let stops = 0; stops < 60; stops++) {
    await page.keyboard.press("Tab")
    if (await page.evaluate((selector) => document.activeElement?.matches(selector) === true, selector)) return true
  }
  problems.push(`Tab does not reach ${selector} at 320 pixels`)
  return false
}

/** Both menus of a page open and lead on by the keyboard: the one of the site, and the one of the guide. */
const useMenus = async (page, address) => {
  await page.goto(address)
  if (await tabTo(page, ".VPNavBarHamburger")) {
    await page.keyboard.press("Enter")
    await page.locator(".VPNavScreen").waitFor()
    await tabTo(page, ".VPNavScreen a")
    await page.goto(address)
  }
  if (!(await tabTo(page, ".VPLocalNav .menu"))) return
  await page.keyboard.press("Enter")
  await page.locator(".VPSidebar.open").waitFor()
  if (!(await tabTo(page, ".VPSidebar a"))) return
  await page.keyboard.press("Enter")
  await page.waitForURL((url) => url.href !== address)
}

/** From the first page to the entry of an error, on a narrow screen, with the keyboard alone. */
const useKeyboard = async (browser, address) => {
  const context = await browser.newContext({ viewport: { width: 320, height: 700 } })
  try {
    const page = await context.newPage()
    await page.goto(address)
    const painted = await page.waitForFunction(
      () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime
    )
    console.log(`the first page is painted after ${Math.round(await painted.jsonValue())} ms`)
    await page.keyboard.press("Tab")
    const first = await page.evaluate(() => document.activeElement?.textContent?.trim())
    if (first !== "Skip to content") problems.push(`the first stop of Tab is "${first}"`)
    await page.keyboard.press("Enter")
    if (!new URL(page.url()).hash) problems.push("the link that skips to the content leads nowhere")
    await walkByTab(page, address)
    await useMenus(page, `${address}durable/storage.html`)
    await page.keyboard.press("Control+k")
    const search = page.locator(".VPLocalSearchBox input")
    await search.waitFor()
    await page.keyboard.type("LeaseHeld")
    await page.locator(".VPLocalSearchBox .result").first().waitFor()
    await page.keyboard.press("Enter")
    await page.waitForURL(/LeaseHeld|leaseheld|leases|errors/)
  } finally {
    await context.close()
  }
}

if (chromium === undefined) console.log("No Chromium on the PATH: accessibility is not checked")
else {
  const { chromium: browsers } = await import("playwright-core")
  const { address, server } = await serve()
  const browser = await browsers.launch({ executablePath: chromium, args: ["--no-sandbox"] })
  try {
    for (const name of looked) {
      for (const colorScheme of ["light", "dark"]) {
        for (const width of [320, 1280]) await look(browser, address, name, width, colorScheme)
      }
    }
    await useKeyboard(browser, address)
  } finally {
    await browser.close()
    server.close()
  }
}

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
else console.log("the site is in order")
