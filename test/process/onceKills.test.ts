import { assert, describe, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { type Child, seeded, useProgram } from "../support/children.js"
import { inPostgres } from "../support/postgres.js"

const seed = seedOf(20261129)
const rounds = lengthOf("ONCE_KILLS")

const kills = (kind: string, address: () => unknown) => {
  const { folder, start } = useProgram("transfersElsewhere.ts")

  /** Kills a run at each of the points in turn, then lets it finish. Returns where it was killed, and its points. */
  const runKilledAt = async (id: string, killPoints: ReadonlyArray<number>) => {
    const killedAt: Array<string> = []
    for (const point of killPoints) {
      const child = start(kind, folder, id, String(point), JSON.stringify(address()))
      const line = await child.line((line) => /^(at|result) /.test(line))
      child.signal("SIGKILL")
      await child.exited
      if (line.startsWith("at ")) killedAt.push(line.slice(3))
    }
    const last = start(kind, folder, id, "0", JSON.stringify(address()))
    return { killedAt, points: await pointsOf(last, killedAt.join(", ")) }
  }

  /** Each transfer returned what it returned at first, and moved its money once. */
  const pointsOf = async (child: Child, about: string): Promise<number> => {
    const line = await child.line((line) => line.startsWith("result "))
    assert.strictEqual(await child.end(), 0, child.errors)
    const [result, points] = line.split(", points ")
    assert.strictEqual(result, "result 1 11 111, accounts 889 111", about)
    return Number(points)
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
    // Two processes at once, neither of which has the journal of the other.
    for (let i = 0; i < rounds; i += 2) {
      const both = ["a.db", "b.db"].map((journal) =>
        start(kind, folder, `raced-${i}`, "0", JSON.stringify(address()), journal)
      )
      for (const child of both) await pointsOf(child, `raced-${i}`)
    }
    console.log(`${rounds} runs, ${kills} kills at ${places.size} kinds of ${points} points (seed ${seed})`)
  })
}

describe.each(["stock", "own"])("a process killed around the commits of its steps' rows, on the %s client", (kind) =>
  kills(kind, () => ({}))
)

inPostgres("a process killed around the commits of its steps' rows, on Postgres", (database) =>
  kills("postgres", () => database.address)
)
