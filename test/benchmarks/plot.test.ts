import { assert, describe, it } from "vitest"
import { type Goal, goalsPlot, latest, type Measured } from "./plot.js"

const goal = (what: string, today: number, wanted: string, met: boolean): Goal => ({
  what,
  today,
  todayText: `${today}x`,
  wanted,
  isMoreBetter: wanted.startsWith("at least"),
  met
})

const runOf = (day: string, results: Measured["run"]["results"]): Measured => ({
  day,
  run: { machine: { node: "v20.20.2", cpus: 2, cpu: "A & B" }, results }
})

describe("the plot of benchmarks", () => {
  it("shows the latest figures of each row, with their day", () => {
    const first = { title: "B4  workflows", goals: [goal("old", 1, "at least 2x", false)] }
    const rows = latest([
      runOf("2026-11-01", { b10: { title: "B10", goals: [goal("a", 1, "at most 2x", true)] }, b4: first }),
      runOf("2026-11-29", { b4: { ...first, goals: [goal("new", 3, "at least 2x", true)] } })
    ])
    assert.deepStrictEqual(
      rows.map(({ day, goals, name }) => [name, day, goals[0]?.what]),
      [
        ["b4", "2026-11-29", "new"],
        ["b10", "2026-11-01", "a"]
      ]
    )
  })

  it("has a bar to the right of the goal for what is reached, and to its left for what is missed", () => {
    const image = goalsPlot([
      runOf("2026-11-29", {
        b1: {
          title: "B1",
          goals: [
            goal("faster than <theirs>", 20, "at least 2x", true),
            goal("twice the limit", 2, "at most 1x", false),
            goal("half the limit", 0.5, "at most 1x", true)
          ]
        }
      })
    ])
    const bars = [...image.matchAll(/<rect class="(\w+)" x="(\d+)" y="\d+" width="(\d+)"/g)].map(
      ([, name, x, width]) => [name, Number(x), Number(x) + Number(width)]
    )
    // The goal is at 565; ten times is the end of the scale, and twice a third of the way.
    assert.deepStrictEqual(bars, [
      ["reached", 565, 700],
      ["missed", 524, 565],
      ["reached", 565, 606]
    ])
    assert.include(image, "2 reached, 1 missed")
    assert.include(image, "faster than &lt;theirs&gt;")
    assert.include(image, "2 cores of A &amp; B, Node 20.20.2")
  })
})
