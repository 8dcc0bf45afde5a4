import * as path from "node:path"
import { assert, describe, it } from "vitest"
import { type Child, useProgram } from "../support/children.js"

describe("two processes and one run", () => {
  const { folder, start } = useProgram("oneStep.ts")

  const valueOf = (child: Child) => child.line((line) => /^(value|failed)/.test(line))

  it("the first executes it, the second fails with LeaseHeld", async () => {
    const file = path.join(folder, "race.db")
    const winner = start(file, "winner", "block")
    await winner.line((line) => line === "in the step")
    const other = start(file, "other", "once")
    assert.strictEqual(await valueOf(other), "failed LeaseHeld")
    winner.say("go")
    assert.strictEqual(await valueOf(winner), "value winner")
    const late = start(file, "late", "once")
    assert.strictEqual(await valueOf(late), "value winner")
    await Promise.all([winner.end(), other.end(), late.end()])
  })

  it("after the lease of a stopped process another one takes the run over, and the late executor returns its outcome", async () => {
    const file = path.join(folder, "stopped.db")
    const winner = start(file, "winner", "block")
    await winner.line((line) => line === "in the step")
    winner.signal("SIGSTOP")
    const other = start(file, "other", "once", String(11 * 60_000))
    assert.strictEqual(await valueOf(other), "value other")
    winner.signal("SIGCONT")
    winner.say("go")
    assert.strictEqual(await valueOf(winner), "value other")
    const after = start(file, "after", "once")
    assert.strictEqual(await valueOf(after), "value other")
    await Promise.all([winner.end(), other.end(), after.end()])
  })

  it("the run of a killed process is free at once, before its lease expires", async () => {
    const file = path.join(folder, "killed.db")
    const winner = start(file, "winner", "block")
    await winner.line((line) => line === "in the step")
    winner.signal("SIGKILL")
    await winner.exited
    const other = start(file, "other", "once")
    assert.strictEqual(await other.line((line) => line.startsWith("value")), "value other")
    await other.end()
  })

  it("many processes that start at once on a new file create its tables once, and one executes the run", async () => {
    const file = path.join(folder, "new.db")
    const children = Array.from({ length: 6 }, (_, i) => start(file, `child-${i}`, "wait"))
    const values = await Promise.all(children.map((child) => child.line((line) => line.startsWith("value"))))
    assert.strictEqual(new Set(values).size, 1)
    assert.strictEqual(children.flatMap(({ lines }) => lines.filter((line) => line === "in the step")).length, 1)
    await Promise.all(children.map((child) => child.end()))
  })
})
