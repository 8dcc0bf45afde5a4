import * as fs from "node:fs"
import { assert, describe, it } from "vitest"

const root = new URL("../", import.meta.url)

const filesOf = (folder: string, ending: RegExp): ReadonlyArray<string> =>
  fs
    .readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
    .map((file) => `${folder}${file.replaceAll("\\", "/")}`)
    .filter((file) => ending.test(file) && !file.includes("node_modules") && !file.includes(".vitepress/"))

const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...filesOf("docs/", /\.md$/)]
const sources = ["src/", "examples/", "test/", "tools/", "bench/", "site/"]
  .flatMap((folder) => filesOf(folder, /\.(?:ts|tsx|mjs)$/))
  // Names the words.
  .filter((file) => file !== "test/prose.test.ts")

/** What hides the subject of a sentence, or says in riddles what the field has a word for. */
const avoided: ReadonlyArray<readonly [words: RegExp, instead: string]> = [
  [/\b(?:nobody|somebody|anybody|anyone|someone|whoever)\b/i, "the worker, the caller, the store, the person"],
  [/\bc[oa]mes? (?:about|to nothing|to (?:its|their) end)\b/i, "happens, succeeds, fails, ends"],
  [/\b(?:go|goes|going|gone|went) on\b/i, "continues, happens"],
  [/\b(?:is|are|be|been|was|were) (?:told|found out)\b/i, "receives, is notified, is distinguished, fails with"],
  [/\bis met\b/i, "occurs, is handled"],
  [/\b(?:pass|passes|passed|passing) by (?!themselves|itself)/i, "skips"],
  [/\banswers for (?:it|its|them|this|that)\b/i, "covers, is responsible for"],
  [/\bwhat is left\b/i, "the name of the rest"],
  [/\bwhatever becomes of\b/i, "survives, even if"],
  [/\bnothing is known of\b/i, "unclassified"],
  [/\bof course\b/i, "nothing in its place"],
  [/\bhis\b/i, "the name of the subject"]
]

const read = (file: string) => fs.readFileSync(new URL(file, root), "utf8")

const found = (file: string) =>
  read(file)
    .split("\n")
    .flatMap((line, index) =>
      avoided.flatMap(([words, instead]) => {
        const match = words.exec(line)
        return match === null ? [] : [`${file}:${index + 1}: "${match[0]}"; write ${instead}`]
      })
    )

describe("the prose", () => {
  it("has the words that the spelling check does not know in one sorted list, and each of them is used", () => {
    const words = read("tools/words.txt").trimEnd().split("\n")
    assert.deepStrictEqual(words, [...new Set(words)].sort())
    const text = [...pages, ...sources].map(read).join("\n").toLowerCase()
    assert.deepStrictEqual(
      words.filter((word) => !text.includes(word)),
      []
    )
  })

  it("of the pages says who does what, in the words of the field", () => {
    assert.deepStrictEqual(pages.flatMap(found), [])
  })

  it("of comments, messages, titles of tests, tools and benchmarks does, too", () => {
    assert.deepStrictEqual(sources.flatMap(found), [])
  })
})
