import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { live } from "../../src/cli/render/live.js"
import { type Screen, screenOf } from "../../src/cli/render/screen.js"
import { record, table } from "../../src/cli/render/terminal.js"
import { cut, cutBeginning, pad, widthOf, wrap } from "../../src/cli/render/width.js"

const screen = (width: number | undefined): Screen => ({ width, colour: false })

const texts = [
  "日本語のワークフロー",
  "👩‍👩‍👧 family",
  "cafe\u0301",
  "ｆｕｌｌ",
  "plain text",
  "🇩🇪🇫🇷",
  "한국어",
  "a\u200bb",
  "1️⃣ keycap"
]

/** Every text of a table, mixed at random. */
const someText = FastCheck.array(FastCheck.oneof(FastCheck.constantFrom(...texts, " "), FastCheck.string()), {
  maxLength: 6
}).map((parts) => parts.join(""))

const widest = (text: string): number => Math.max(...text.split("\n").map(widthOf))

/** A stream as Node describes a terminal or a pipe. */
const stream = (fields: { readonly isTTY?: boolean; readonly columns?: number }) => fields as NodeJS.WriteStream

describe("what fits a terminal", () => {
  it("is counted in cells", () => {
    assert.deepStrictEqual(texts.map(widthOf), [20, 9, 4, 8, 10, 4, 6, 2, 9])
  })

  it("is cut and padded to exactly the cells there are, without breaking a character", () => {
    FastCheck.assert(
      FastCheck.property(someText, FastCheck.integer({ min: 0, max: 30 }), (text, width) => {
        for (const shorter of [cut(text, width), cutBeginning(text, width)]) {
          assert.isAtMost(widthOf(shorter), width)
          if (widthOf(text) <= width) assert.strictEqual(shorter, text)
        }
        assert.strictEqual(widthOf(pad(cut(text, width), width)), width)
        assert.isTrue(text.startsWith(cut(text, width).replace(/…$/, "")) || text.includes("…"))
      }),
      { seed: 7, numRuns: 1_000 }
    )
  })

  it("is wrapped into lines that fit and lose no word", () => {
    FastCheck.assert(
      FastCheck.property(someText, FastCheck.integer({ min: 2, max: 30 }), (text, width) => {
        const lines = wrap(text, width)
        for (const line of lines) assert.isAtMost(widthOf(line), width)
        assert.strictEqual(lines.join("").replace(/\s/g, ""), text.replace(/\s/g, ""))
      }),
      { seed: 7, numRuns: 1_000 }
    )
  })

  it("keeps tables and records of CJK texts and emoji aligned and inside of the width", () => {
    const head = ["run", "workflow", "message"]
    const rows = texts.map((text, i) => [`run-${i}`, text, `${text} ${text}`])
    for (const width of [40, 60, 80]) {
      const lines = table(screen(width), head, rows).split("\n")
      assert.strictEqual(lines.length, rows.length + 1)
      assert.isAtMost(widest(lines.join("\n")), width)
      const second = lines.map((line, i) =>
        widthOf(line.slice(0, line.indexOf(i === 0 ? "workflow" : (texts[i - 1]?.slice(0, 1) ?? ""))))
      )
      assert.strictEqual(new Set(second).size, 1, lines.join("\n"))
    }
    for (const width of [20, 40]) {
      assert.isAtMost(widest(record(screen(width), [["名前", texts.join(" ")]])), width)
    }
  })

  it("has no width in a pipe, whatever COLUMNS says, and none that is 0", () => {
    const before = process.env.COLUMNS
    try {
      for (const COLUMNS of ["40", "0", "wide", ""]) {
        process.env.COLUMNS = COLUMNS
        assert.isUndefined(screenOf(stream({})).width, COLUMNS)
        assert.strictEqual(screenOf(stream({ isTTY: true, columns: 80 })).width, 80)
        assert.strictEqual(screenOf(stream({ isTTY: true, columns: 0 })).width, COLUMNS === "40" ? 40 : undefined)
      }
    } finally {
      if (before === undefined) delete process.env.COLUMNS
      else process.env.COLUMNS = before
    }
  })

  it("includes the first lines of --watch, before the storage has answered", () => {
    const frame = { where: `/home/${"数据库".repeat(20)}/recovery.db`, value: undefined, at: new Date(0) }
    for (const trouble of [undefined, `The storage failed: ${"磁盘已满".repeat(20)}`]) {
      for (const width of [10, 40, 80]) {
        const lines = live(screen(width), 12, { ...frame, trouble })
        assert.isAtMost(widest(lines.join("\n")), width)
      }
      assert.include(live(screen(undefined), undefined, { ...frame, trouble }).join("\n"), frame.where)
    }
  })
})
