import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { bundle, Child, temporaryFolder } from "../support/children.js"

describe("two processes and one run", () => {
  let program: string
  const folder = temporaryFolder()

  beforeAll(async () => {
    program = await bundle("oneStep.ts")
  })
  afterAll(() => {
    fs.rmSync(folder, { recursive: true })
    fs.rmSync(program)
  })

  it("one advances, the other gets the typed answer", async () => {
    const file = path.join(folder, "race.db")
    const other = new Child(program, [file, "other", "once", "told"])
    await other.line((line) => line === "ready")
    const winner = new Child(program, [file, "winner", "block"])
    await winner.line((line) => line === "in the step")
    other.say("go")
    assert.strictEqual(await other.line((line) => line !== "ready"), "failed LeaseHeld")
    winner.say("go")
    assert.strictEqual(await winner.line((line) => line.startsWith("value")), "value winner")
    const late = new Child(program, [file, "late", "once"])
    assert.strictEqual(await late.line((line) => line !== ""), "value winner")
    await Promise.all([winner.end(), other.end(), late.end()])
  })

  it("the other finishes a run whose process is stopped past its lease, and the late write is refused", async () => {
    const file = path.join(folder, "stopped.db")
    const other = new Child(program, [file, "other", "wait", "told"])
    await other.line((line) => line === "ready")
    const winner = new Child(program, [file, "winner", "block"])
    await winner.line((line) => line === "in the step")
    other.say("go")
    assert.strictEqual(await other.line((line) => line !== "ready"), "held")
    winner.signal("SIGSTOP")
    assert.strictEqual(await other.line((line) => line.startsWith("value")), "value other")
    winner.signal("SIGCONT")
    winner.say("go")
    assert.strictEqual(await winner.line((line) => /^(value|failed)/.test(line)), "failed LeaseLost")
    const after = new Child(program, [file, "after", "once"])
    assert.strictEqual(await after.line((line) => line !== ""), "value other")
    await Promise.all([winner.end(), other.end(), after.end()])
  })

  it("a killed process gives its run free at once, whatever its lease says", async () => {
    const file = path.join(folder, "killed.db")
    const winner = new Child(program, [file, "winner", "block"])
    await winner.line((line) => line === "in the step")
    winner.signal("SIGKILL")
    await winner.exited
    const other = new Child(program, [file, "other", "once"])
    assert.strictEqual(await other.line((line) => line.startsWith("value")), "value other")
    await other.end()
  })

  it("many processes that start at once on a new file all find their tables", async () => {
    const file = path.join(folder, "new.db")
    const children = Array.from({ length: 6 }, (_, i) => new Child(program, [file, `child-${i}`, "wait"]))
    const values = await Promise.all(children.map((child) => child.line((line) => line.startsWith("value"))))
    assert.strictEqual(new Set(values).size, 1)
    assert.strictEqual(children.flatMap(({ lines }) => lines.filter((line) => line === "in the step")).length, 1)
    await Promise.all(children.map((child) => child.end()))
  })
})
