import * as fs from "node:fs"
import * as path from "node:path"
import { assert, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { seeded, useProgram } from "../support/children.js"
import { inChildStorages } from "../support/childStorage.js"

/** The points of an undisturbed run: its start, four per step, its end. */
const points = 82
const seed = seedOf(20261121)
const rounds = lengthOf("KILL_ROUNDS")

interface Step {
  readonly key: string
  readonly status: string
  readonly ambiguous: number
}

inChildStorages("a process killed at random points", () => {
  const { folder, start } = useProgram("twentySteps.ts")

  /** Kills a run at each of the points in turn, then lets it finish. */
  const runKilledAt = async (id: string, killPoints: ReadonlyArray<number>) => {
    const args = [folder, path.join(folder, `${id}.ledger`), id]
    const killedAt: Array<string> = []
    for (const point of killPoints) {
      const child = start(...args, String(point))
      const line = await child.line((line) => /^(at|steps) /.test(line))
      child.signal("SIGKILL")
      if (line.startsWith("at ")) assert.strictEqual(await child.exited, "SIGKILL")
      else await child.exited
      killedAt.push(line)
    }
    const last = start(...args)
    const steps: ReadonlyArray<Step> = JSON.parse((await last.line((line) => line.startsWith("steps "))).slice(6))
    assert.strictEqual(await last.end(), 0, last.errors)
    const ledger = fs
      .readFileSync(path.join(folder, `${id}.ledger`), "utf8")
      .trim()
      .split("\n")
      .map(Number)
    return { killedAt, steps, ledger, result: last.lines.find((line) => line.startsWith("result ")) }
  }

  /** A completed step left one line; an ambiguous attempt may have left another. */
  const check = ({ ledger, result, steps }: Awaited<ReturnType<typeof runKilledAt>>) => {
    assert.strictEqual(result, "result 210")
    assert.strictEqual(steps.length, 20)
    for (const [i, step] of steps.entries()) {
      const lines = ledger.filter((n) => n === i + 1).length
      assert.strictEqual(step.status, "completed")
      assert.isAtLeast(lines, 1, step.key)
      assert.isAtMost(lines, 1 + step.ambiguous, step.key)
    }
    return steps.reduce((sum, { ambiguous }) => sum + ambiguous, 0)
  }

  it(`resumes with the right result, ${rounds} times (seed ${seed})`, async () => {
    const random = seeded(seed)
    const plans = Array.from({ length: rounds }, (_, i) => ({
      id: `run-${i}`,
      kills: Array.from({ length: 1 + random(2) }, () => 1 + random(points))
    }))
    let ambiguous = 0
    let kills = 0
    const workers = [0, 1].map(async (worker) => {
      for (const plan of plans.filter((_, i) => i % 2 === worker)) {
        const outcome = await runKilledAt(plan.id, plan.kills)
        kills += outcome.killedAt.filter((line) => line.startsWith("at ")).length
        ambiguous += check(outcome)
      }
    })
    await Promise.all(workers)
    assert.isAtLeast(kills, rounds)
    assert.isAbove(ambiguous, 0)
    console.log(`${rounds} runs, ${kills} kills, ${ambiguous} ambiguous steps (seed ${seed})`)
  })

  it("tells a step cut short from one that was not", async () => {
    // RunStarted is point 1; then AttemptStarted, before, after, StepCompleted for each step.
    const expected: ReadonlyArray<readonly [point: number, ambiguous: number, linesOfFirst: number]> = [
      [1, 0, 1],
      [2, 1, 1],
      [3, 1, 1],
      [4, 1, 2],
      [5, 0, 1]
    ]
    for (const [point, ambiguous, lines] of expected) {
      const outcome = await runKilledAt(`exact-${point}`, [point])
      assert.strictEqual(check(outcome), ambiguous, outcome.killedAt[0])
      assert.strictEqual(outcome.ledger.filter((n) => n === 1).length, lines, outcome.killedAt[0])
    }
  })
})
