import { assert, describe, it } from "@effect/vitest"
import { gantt } from "../../src/cli/render/gantt.js"
import { widthOf } from "../../src/cli/render/width.js"
import type { Value } from "../../src/operate/OperatorRequests.js"

type Run = Value<"Run">
type Step = Run["steps"][number]

const at = (second: number) => new Date(second * 1_000).toISOString()

const attempt = (number: number, status: Step["history"][number]["status"], from: number, to: number | null) => ({
  number,
  status,
  startedAt: at(from),
  endedAt: to === null ? null : at(to),
  failure: null,
  nextAt: null
})

const step = (key: string, status: Step["status"], history: Step["history"]): Step => ({
  key,
  status,
  attempts: history.length,
  history,
  compensation: null,
  compensationFailure: null,
  startedAt: history.at(-1)?.startedAt ?? at(0),
  updatedAt: history.at(-1)?.endedAt ?? history.at(-1)?.startedAt ?? at(0),
  nextAttemptAt: null,
  ambiguous: []
})

const run = (more: Partial<Run>): Run => ({
  id: "1",
  workflow: "w",
  version: "1",
  status: "completed",
  labels: {},
  createdAt: at(0),
  finishedAt: at(40),
  owner: null,
  executions: 1,
  waiting: [],
  dueAt: null,
  failure: null,
  hold: null,
  cancelling: null,
  queue: null,
  parent: null,
  generation: 1,
  key: 1,
  steps: [],
  waits: [],
  decisions: [],
  children: [],
  rollbacks: [],
  rewinds: [],
  rewinding: null,
  unread: [],
  ...more
})

const wait = { id: "1", kind: "question", about: "Ship it?", to: null, until: null, status: "answered" } as const

const order = run({
  steps: [
    step("reserve", "completed", [attempt(1, "completed", 0, 10)]),
    step("charge", "failed", [attempt(1, "retried", 10, 14), attempt(2, "failed", 24, 28)])
  ],
  waits: [{ ...wait, startedAt: at(14), endedAt: at(20) }],
  rollbacks: [{ transaction: "pay", status: "completed", reason: "failed", startedAt: at(30), updatedAt: at(40) }]
})

const drawn = (width: number | undefined, value: Run) => gantt({ width, colour: false }, value)

describe("the picture of a run", () => {
  it("shows attempts, the time between them, waits and rollbacks over the time of the run", () => {
    assert.deepStrictEqual(drawn(80, order).split("\n"), [
      "                   0                              40 s",
      "reserve            █████████                            completed, 10 s",
      "charge                     ████x········███x            failed, 18 s, 2 attempts",
      "question Ship it?              ░░░░░░                   answered, 6 s",
      "rollback pay                                 ◄◄◄◄◄◄◄◄◄  completed, 10 s",
      "█ attempt  x failed  · until the next  ░ wait  ◄ rollback  > open"
    ])
  })

  it("explains the marks that only some runs have", () => {
    const cut = run({ steps: [step("reserve", "started", [attempt(1, "cutShort", 0, 10)])] })
    assert.match(drawn(120, cut), /> open {2}~ cut short by a crash$/)
  })

  it("fits a narrow screen, with the words about a row below it", () => {
    const lines = drawn(40, order).split("\n")
    assert.deepStrictEqual(lines.slice(0, 4), [
      "               0                    40 s",
      "reserve        ███████",
      "               completed, 10 s",
      "charge               ██x······██x"
    ])
    for (const width of [20, 40, 59, 60, 120, 200]) {
      for (const line of drawn(width, order).split("\n")) assert.isAtMost(widthOf(line), width)
    }
  })

  it("shows what is open until the last thing that is known of the run", () => {
    const open = run({
      status: "stopped",
      finishedAt: null,
      steps: [
        step("日本語 long name that is cut somewhere", "started", [
          attempt(1, "cutShort", 0, null),
          attempt(2, "started", 20, null)
        ])
      ],
      waits: [{ ...wait, status: "open", startedAt: at(40), endedAt: null }]
    })
    const [, first, second] = drawn(80, open).split("\n")
    assert.include(first, "~")
    assert.include(first, ">")
    assert.include(first, "started, 40 s, 2 attempts")
    assert.match(second ?? "", /question Ship it\?\s+> {2}open$/)
  })

  it("is empty for a run without any, and a line for one that took no time", () => {
    assert.strictEqual(drawn(80, run({})), "")
    const instant = run({ finishedAt: at(0), steps: [step("one", "completed", [attempt(1, "completed", 0, 0)])] })
    assert.include(drawn(undefined, instant), "completed, 0 ms")
  })

  it("shows no control characters of names", () => {
    const odd = run({ steps: [step("a\u001b[2Jb", "completed", [attempt(1, "completed", 0, 1)])] })
    assert.notInclude(drawn(80, odd), "\u001b")
  })
})
