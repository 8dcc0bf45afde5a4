import { assert, describe, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { seeded, useProgram } from "../support/children.js"

const seed = seedOf(20261129)
const rounds = lengthOf("ONCE_KILLS")

describe.each(["stock", "own"])("a process killed around the commits of its steps' rows, on the %s client", (kind) => {
  const { folder, start } = useProgram("transfersElsewhere.ts")

  /** Kills a run at each of the points in turn, then lets it finish. Returns where it was killed, and its points. */
  const runKilledAt = async (id: string, killPoints: ReadonlyArray<number>) => {
    const killedAt: Array<string> = []
    for (const point of killPoints) {
      const child = start(kind, folder, id, String(point))
      const line = await child.line((line) => /^(at|result) /.test(line))
      child.signal("SIGKILL")
      await child.exited
      if (line.startsWith("at ")) killedAt.push(line.slice(3))
    }
    const last = start(kind, folder, id)
    const line = await last.line((line) => line.startsWith("result "))
    assert.strictEqual(await last.end(), 0, last.errors)
    // Each transfer returned what it returned at first, and moved its money once.
    const [result, points] = line.split(", points ")
    assert.strictEqual(result, "result 1 11 111, accounts 889 111", killedAt.join(", "))
    return { killedAt, points: Number(points) }
  }

  it(`moves money once, ${rounds} times (seed ${seed})`, async () => {
    const random = seeded(seed)
    const { points } = await runKilledAt("undisturbed", [])
    const places = new Set<string>()
    let kills = 0
    for (let i = 0; i < rounds; i++) {
      const { killedAt } = await runKilledAt(`run-${i}`, [1 + random(points), 1 + random(points)])
      for (const place of killedAt) places.add(place)
      kills += killedAt.length
    }
    assert.isAtLeast(kills, rounds)
    console.log(`${rounds} runs, ${kills} kills at ${places.size} of ${points} points (seed ${seed})`)
  })
})
