import * as fs from "node:fs"
import { assert, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { seeded, useProgram } from "../support/children.js"
import { inStockStorages } from "../support/childStorage.js"

const payments = lengthOf("PAYMENTS")
const seed = seedOf(20261129)

interface Result {
  readonly moves: ReadonlyArray<number>
  readonly balances: ReadonlyArray<number>
}

/** An answer that a process got stays true, whatever happens to later ones. */
const compareNotes = (notes: ReadonlyArray<string>, payment: number) => {
  const own = notes.filter((note) => new RegExp(`^\\D*${payment}( |$)`).test(note))
  const numbers = new Set(own.filter((note) => note.startsWith(`moved ${payment} as`)))
  assert.strictEqual(numbers.size, 1, `payment ${payment}: ${own.join(", ")}`)
  const acknowledged = own.indexOf(`has receipt ${payment}`)
  assert.isAbove(acknowledged, -1, `payment ${payment}`)
  assert.isBelow(own.lastIndexOf(`writes receipt ${payment}`), acknowledged, `payment ${payment}: ${own.join(", ")}`)
}

inStockStorages("payments whose processes are killed around each of their commits", () => {
  const { folder, start } = useProgram("payments.ts")

  it(`move their money once, ${payments} of them, also those whose commit is refused at first (seed ${seed})`, async () => {
    const random = seeded(seed)
    const killedAt = new Map<string, number>()
    for (;;) {
      const child = start(folder, `${payments}`, `${1 + random(90)}`)
      const line = await child.line((line) => /^(at|result) /.test(line))
      if (line.startsWith("result ")) {
        assert.strictEqual(await child.end(), 0, child.errors)
        break
      }
      child.signal("SIGKILL")
      await child.exited
      const place = line.slice("at ".length)
      killedAt.set(place, (killedAt.get(place) ?? 0) + 1)
    }
    const last = start(folder, `${payments}`)
    const line = await last.line((line) => line.startsWith("result "))
    assert.strictEqual(await last.end(), 0, last.errors)
    const { balances, moves }: Result = JSON.parse(line.slice("result ".length))
    const all = Array.from({ length: payments }, (_, i) => i + 1)
    assert.deepStrictEqual(
      [...moves].sort((a, b) => a - b),
      all
    )
    const sum = all.reduce((a, b) => a + b, 0)
    assert.deepStrictEqual(balances, [-sum, sum])
    const notes = fs.readFileSync(`${folder}/notes`, "utf8").trim().split("\n")
    for (const payment of all) compareNotes(notes, payment)
    const refused = notes.filter((note) => note.startsWith("refused")).length
    const kills = [...killedAt.values()].reduce((a, b) => a + b, 0)
    assert.isAbove(refused, 0)
    assert.isAbove(kills, 0)
    console.log(
      `${payments} payments, ${kills} kills (${[...killedAt].map(([place, n]) => `${n} ${place}`).join(", ")}), ${refused} refused commits`
    )
  })
})
