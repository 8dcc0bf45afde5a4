import * as fs from "node:fs"
import { assert, describe, it } from "vitest"
import { type Goal, goalsPlot, goalsTable, type Released, rowsOf, withTable } from "./plot.js"

const goal = (what: string, today: number, wanted: string, met: boolean): Goal => ({
  what,
  today,
  todayText: `${today}x`,
  wanted,
  isMoreBetter: wanted.startsWith("at least"),
  met
})

const row = (title: string, ...goals: ReadonlyArray<Goal>) => ({
  title,
  day: "2026-11-30",
  load: 1.5,
  machine: { node: "v20.20.2", cpus: 2, cpu: "A & B" },
  goals
})

const released: Released = {
  quiet: {
    b10: row("B10  start", goal("slow", 2, "at most 1x", false)),
    b4: row(
      "B4",
      goal("faster than <theirs>", 20, "at least 2x", true),
      goal("half the limit", 0.5, "at most 1x", true)
    )
  },
  loaded: { b4: row("B4", goal("half the limit", 1.2, "at most 1x", false)) }
}

describe("the report of benchmarks", () => {
  it("has the rows in the order of their numbers, with both figures", () => {
    assert.deepStrictEqual(
      rowsOf(released).map(({ figures, title }) => [
        title,
        figures.map(({ loaded, quiet }) => [quiet.today, loaded?.today])
      ]),
      [
        [
          "B4",
          [
            [20, undefined],
            [0.5, 1.2]
          ]
        ],
        ["B10  start", [[2, undefined]]]
      ]
    )
  })

  it("draws bars to the right of the goal for what is reached, to its left for what is missed, and ticks under load", () => {
    const image = goalsPlot(released)
    const bars = [...image.matchAll(/<rect class="(\w+)" x="(\d+)" y="\d+" width="(\d+)"/g)].map(
      ([, name, x, width]) => [name, Number(x), Number(x) + Number(width)]
    )
    // The goal is at 565; ten times is the end of the scale, and twice a third of the way.
    assert.deepStrictEqual(bars, [
      ["reached", 565, 700],
      ["reached", 565, 606],
      ["missed", 524, 565]
    ])
    assert.deepStrictEqual(
      [...image.matchAll(/class="line s3" x1="(\d+)"/g)].map(([, x]) => x),
      ["554"]
    )
    assert.include(image, "2 reached, 1 missed")
    assert.include(image, "faster than &lt;theirs&gt;")
    assert.include(image, "2 cores of A &amp; B, Node 20.20.2")
  })

  it("marks what is missed in the table", () => {
    assert.include(goalsTable(released), "| half the limit | at most 1x | 0.5x | **1.2x** |")
    assert.include(goalsTable(released), "| slow | at most 1x | **2x** | – |")
  })

  it("is on the page as the figures on record give it", () => {
    const record: Released = JSON.parse(fs.readFileSync("bench/released.json", "utf8"))
    const page = fs.readFileSync("docs/BENCHMARKS.md", "utf8")
    assert.strictEqual(withTable(page, record), page)
    assert.strictEqual(goalsPlot(record), fs.readFileSync("docs/benchmarks.svg", "utf8"))
  })
})
