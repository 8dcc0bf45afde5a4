import * as fs from "node:fs"
import { assert, describe, it } from "vitest"

const root = new URL("../", import.meta.url)
const read = (file: string) => fs.readFileSync(new URL(file, root), "utf8")

/** The pages of a folder and of the folders in it. */
const pagesOf = (folder: string) =>
  fs
    .readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
    .filter((page) => page.endsWith(".md"))
    .map((page) => `${folder}${page.replaceAll("\\", "/")}`)

/** An example, or the region of it that a page shows: `examples/order.ts#order`. */
const example = (name: string) => {
  const [file = "", region] = name.split("#")
  const text = read(file)
  if (region === undefined) return text
  const found = new RegExp(`^( *)// #region ${region}\\n([\\s\\S]*?)^ *// #endregion`, "m").exec(text)
  if (found === null) throw new Error(`${file} has no region ${region}`)
  const [, indent = "", lines = ""] = found
  return lines.replace(new RegExp(`^${indent}`, "gm"), "")
}

/** Code blocks of TypeScript, with the example that the comment above each names. */
const blocks = (document: string) =>
  [...read(document).matchAll(/^(?:<!-- (.+) -->\n)?```(?:ts|typescript|js)\n([\s\S]*?)^```/gm)].map(
    ([, name = "", code = ""]) => ({ name, code })
  )

const policies = pagesOf("docs/policies/").filter((page) => page !== "docs/policies/README.md")
const withCode = [...policies, ...pagesOf("docs/durable/"), ...pagesOf("docs/files/"), ...pagesOf("docs/operate/")]
const documents = ["README.md", "CONTRIBUTING.md", ...pagesOf("docs/")]

/** About a command that needs no program. */
const withoutProgram = ["docs/operate/exec.md"]

describe("the documents", () => {
  for (const document of documents) {
    it(`${document} shows examples as they are compiled and run, and links to files that exist`, () => {
      for (const { code, name } of blocks(document)) {
        // Code of other libraries is compiled with the site, where they are installed.
        assert.match(name, /^(?:examples|site\/theirs)\//, `a block of ${document} names no example:\n${code}`)
        assert.strictEqual(code, example(name), name)
      }
      const folder = new URL(document, root)
      for (const [, link = ""] of read(document).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) {
        assert.isTrue(fs.existsSync(new URL(link, folder)), `${document}: ${link}`)
      }
    })
  }

  for (const document of ["README.md", "docs/GUIDE.md", ...withCode].filter((one) => !withoutProgram.includes(one))) {
    it(`${document} shows an example`, () => {
      assert.isAbove(blocks(document).length, 0)
    })
  }

  for (const page of withCode) {
    it(`${page} says what a page on a policy says`, () => {
      const headings = [...read(page).matchAll(/^## (.+)$/gm)].map(([, heading]) => heading)
      assert.includeMembers(headings, ["What happens when", "What not to do"])
      // Imperatives: what to avoid, then what to do in its place.
      const advice =
        read(page)
          .split(/^## What not to do\n/m)[1]
          ?.split(/^## /m)[0] ?? ""
      const lines = advice.split("\n").filter((line) => line.startsWith("- "))
      assert.isAbove(lines.length, 0)
      for (const line of lines) assert.match(line, /^- (?:Do not|Never) /)
    })
  }

  it("each page is on the list of pages", () => {
    for (const page of policies) assert.include(read("docs/policies/README.md"), page.replace("docs/policies/", ""))
  })

  it("the metrics that are documented are those there are", () => {
    const documented = [...read("docs/policies/observing.md").matchAll(/`(effect_recovery_\w+)`/g)].map(
      ([, name]) => name
    )
    const source = read("src/resilience/internal/kernel/metrics.ts")
    const there = [...source.matchAll(/counter\("(\w+)"|gauge\("effect_recovery_(\w+)"/g)].map(
      ([, counter, gauge]) => `effect_recovery_${counter ?? gauge}`
    )
    assert.deepStrictEqual(documented.sort(), there.sort())
  })

  it("the reasons of a StorageError that are documented are those there are", () => {
    const named = (file: string, form: RegExp) => [...read(file).matchAll(form)].map(([, reason]) => reason).sort()
    const reasons = named("src/storage/StorageError.ts", /^ {2}(\w+): \{ category/gm)
    assert.isAbove(reasons.length, 15)
    assert.deepStrictEqual(named("src/storage/StorageError.ts", /^ \* - `(\w+)`: /gm), reasons)
    assert.deepStrictEqual(named("docs/durable/storage.md", /^\| `([A-Z]\w+)` \| /gm), reasons)
  })

  it("each tagged error of the package has its entry in the page of errors, with what to do", () => {
    // Of the command line and of a plan: no program meets them.
    const inside = ["Ended", "CommandFailed", "PlanFailed"]
    const sources = fs
      .readdirSync(new URL("src/", root), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
    const there = sources.flatMap((file) =>
      [...read(`src/${file.replaceAll("\\", "/")}`).matchAll(/^(?:export )?class [\s\S]*?\{/gm)].flatMap(([head]) => {
        const tag = /TaggedError(?:<\w+>\([^)]*\))?\(\s*"(\w+)"/.exec(head)?.[1]
        return tag === undefined || inside.includes(tag) ? [] : [tag]
      })
    )
    const page = read("docs/reference/errors.md")
    const entries = page.split(/^### /m).slice(1)
    assert.isAbove(there.length, 50)
    assert.deepStrictEqual(entries.map((entry) => entry.slice(0, entry.indexOf("\n"))).sort(), there.sort())
    for (const entry of entries) assert.include(entry, "**What to do:**")
  })

  for (const document of ["docs/FEATURES.md", "docs/ARCHITECTURE.md", "CONTRIBUTING.md"]) {
    it(`${document} names only modules and tests that exist`, () => {
      const named = [...read(document).matchAll(/`((?:src|test|examples|bench)\/[\w./-]+)`/g)].map(
        ([, file = ""]) => file
      )
      assert.isAbove(named.length, 5)
      assert.deepStrictEqual(
        named.filter((file) => !fs.existsSync(new URL(file, root))),
        []
      )
    })
  }
})
