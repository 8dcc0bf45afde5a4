// Gathers the pages of the site in site/.pages: docs/ without what is for contributors alone, the changelog, and the API
// reference that docgen wrote. Links that leave the site lead to the repository.
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { apiPages } from "./api.mjs"
import { optionsTables } from "./options.mjs"

const root = fileURLToPath(new URL("../", import.meta.url))
const target = path.join(root, "site/.pages")
const repository = "https://github.com/effect-recovery/effect-recovery/blob/main/"

/** Maps contributors' features to modules and tests; no page for users. */
const left = ["docs/FEATURES.md"]

/** Where a file of the repository is on the site; undefined for one that is no page. */
const pageOf = (file) => {
  if (left.includes(file)) return undefined
  if (file === "CHANGELOG.md") return "changelog.md"
  if (file === "README.md") return "index.md"
  if (!file.startsWith("docs/")) return undefined
  return file.slice("docs/".length).replace(/README\.md$/, "index.md")
}

/** A link as it is on the site. */
const linkFrom = (source, link) => {
  const [file, anchor] = link.split("#")
  if (/^[a-z]+:/.test(link) || link.startsWith("/") || file === "") return link
  const aim = path.posix.join(path.posix.dirname(source), file)
  const page = pageOf(aim)
  const hash = anchor === undefined ? "" : `#${anchor}`
  if (page === undefined) return `${repository}${aim}${hash}`
  return path.posix.relative(path.posix.dirname(pageOf(source)), page).replace(/^(?!\.)/, "./") + hash
}

/** Applies `change` outside of code blocks and code spans. */
const outsideCode = (text, change) =>
  text
    .split(/(^ *```[\s\S]*?^ *```$|`[^`\n]+`)/m)
    .map((part, index) => (index % 2 === 0 ? change(part) : part))
    .join("")

/** The examples that npm run example knows. */
const gallery = new Set(
  [...fs.readFileSync(path.join(root, "examples/gallery.ts"), "utf8").matchAll(/^ {2}"?([\w/-]+)"?: \{/gm)].map(
    ([, name]) => name
  )
)

/** Names the file of an example above its code, with the command that runs it. */
const withSource = (text) =>
  text.replace(/^<!-- (examples\/([\w/-]+)\.\w+)(?:#[\w-]+)? -->$/gm, (_, file, name) => {
    const run = gallery.has(name) ? ` <code>npm run example ${name}</code>` : ""
    return `<p class="example"><a href="${repository}${file}">${file}</a>${run}</p>\n`
  })

const write = (page, text) => {
  const file = path.join(target, page)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}

const writePage = (source) => {
  const text = fs.readFileSync(path.join(root, source), "utf8")
  // A link's text may hold a code span, so links are rewritten by their ends: `](`.
  const linked = text
    .split(/(^ *```[\s\S]*?^ *```$)/m)
    .map((part, index) =>
      index % 2 === 1 ? part : part.replace(/\]\(([^)\s]+)\)/g, (_, link) => `](${linkFrom(source, link)})`)
    )
    .join("")
  write(
    pageOf(source),
    withSource(linked).replace("<!-- options -->", () => optionsTables(root))
  )
}

fs.rmSync(target, { recursive: true, force: true })
for (const entry of fs.readdirSync(path.join(root, "docs"), { recursive: true, withFileTypes: true })) {
  const file = path.posix.join(path.relative(root, entry.parentPath).replaceAll(path.sep, "/"), entry.name)
  if (!entry.isFile() || pageOf(file) === undefined) continue
  if (file.endsWith(".md")) writePage(file)
  else {
    // Pictures keep their address, and are beside the pages that show them.
    for (const folder of [path.join(target, "public"), target]) {
      const copy = path.join(folder, pageOf(file))
      fs.mkdirSync(path.dirname(copy), { recursive: true })
      fs.copyFileSync(path.join(root, file), copy)
    }
  }
}
writePage("CHANGELOG.md")
for (const [page, text] of apiPages(root, outsideCode)) write(page, text)
