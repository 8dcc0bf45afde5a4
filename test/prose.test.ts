import * as fs from "node:fs"
import { assert, describe, it } from "vitest"

const root = new URL("../", import.meta.url)

const filesOf = (folder: string, ending: RegExp): ReadonlyArray<string> =>
  fs
    .readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
    .map((file) => `${folder}${file.replaceAll("\\", "/")}`)
    .filter((file) => ending.test(file) && !file.includes("node_modules"))

const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...filesOf("docs/", /\.md$/)]
const sources = [...filesOf("src/", /\.tsx?$/), ...filesOf("examples/", /\.ts$/)]

/** What hides the subject of a sentence, or says in riddles what the field has a word for. */
const avoided: ReadonlyArray<readonly [words: RegExp, instead: string]> = [
  [/\b(?:nobody|somebody|anybody|anyone|someone|whoever)\b/i, "the worker, the caller, the store, the person"],
  [/\bc[oa]mes? (?:about|to nothing)\b/i, "happens, succeeds, fails"],
  [/\b(?:is|are) (?:told|found out)\b/i, "receives, is notified, fails with"],
  [/\bis met\b/i, "occurs, is handled"],
  [/\bpass(?:es|ed) by\b/i, "skips"],
  [/\bwhatever becomes of\b/i, "survives, even if"],
  [/\bnothing is known of\b/i, "unclassified"],
  [/\bof course\b/i, "nothing in its place"],
  [/\bhis\b/i, "the name of the subject"]
]

const found = (file: string) =>
  fs
    .readFileSync(new URL(file, root), "utf8")
    .split("\n")
    .flatMap((line, index) =>
      avoided.flatMap(([words, instead]) => {
        const match = words.exec(line)
        return match === null ? [] : [`${file}:${index + 1}: "${match[0]}"; write ${instead}`]
      })
    )

describe("the prose", () => {
  it("of the pages says who does what, in the words of the field", () => {
    assert.deepStrictEqual(pages.flatMap(found), [])
  })

  it("of comments and messages does, too", () => {
    assert.deepStrictEqual(sources.flatMap(found), [])
  })
})
