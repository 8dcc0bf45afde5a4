import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { seeded, useProgram } from "../support/children.js"

const processes = lengthOf("INCREMENT_PROCESSES")
const each = lengthOf("INCREMENTS")
const kills = lengthOf("INCREMENT_KILLS")
const seed = seedOf(20261125)

const countIn = (folder: string): number => JSON.parse(fs.readFileSync(path.join(folder, "counter.json"), "utf8")).count

describe("many processes and one number in a file", () => {
  const { folder: root, start } = useProgram("increments.ts")

  let folders = 0
  const prepare = () => {
    const folder = path.join(root, `${++folders}`)
    fs.mkdirSync(folder)
    fs.writeFileSync(path.join(folder, "counter.json"), JSON.stringify({ count: 0, padding: "x".repeat(2_000) }))
    return folder
  }

  /** A process that reads all the time and fails on a torn file. */
  const startReader = async (folder: string) => {
    const reader = start("read", "", folder)
    await reader.line((line) => line === "ready")
    return async () => {
      assert.strictEqual(await reader.end(), 0, reader.errors)
      assert.isAbove(Number(reader.lines.at(-1)?.slice(6)), 0)
    }
  }

  const cases = [
    ["lock", "file"],
    ["lock", "directory"],
    ["lock", "storage"],
    ["update", "file"]
  ] as const

  for (const [what, kind] of cases) {
    const name = what === "update" ? "AtomicFile.update" : `a lock (${kind})`

    it(`${name}: ${processes} processes x ${each} increments, none lost`, async () => {
      const folder = prepare()
      const endReader = await startReader(folder)
      const children = Array.from({ length: processes }, () => start(what, kind, folder, String(each)))
      for (const child of children) assert.strictEqual(await child.exited, 0, child.errors)
      assert.strictEqual(countIn(folder), processes * each)
      await endReader()
    })

    it(`${name}: killed at random, no reported increment is lost (seed ${seed})`, async () => {
      const folder = prepare()
      const endReader = await startReader(folder)
      const random = seeded(seed)
      let reported = 0
      let killed = 0
      /** One process at a time: after each kill the next one starts. */
      const place = async () => {
        for (;;) {
          const isLast = killed >= kills
          if (!isLast) killed++
          const child = start(what, kind, folder, "20")
          if (!isLast) {
            const after = random(20)
            await child.line(() => child.lines.length > after).catch(() => {})
            child.signal("SIGKILL")
          }
          const end = await child.exited
          if (isLast) assert.strictEqual(end, 0, child.errors)
          reported += child.lines.filter((line) => line === "done").length
          if (isLast) return
        }
      }
      await Promise.all(Array.from({ length: processes }, place))
      const count = countIn(folder)
      assert.isAtLeast(count, reported)
      // A killed process may have written an increment that it could not report.
      assert.isAtMost(count, reported + kills)
      await endReader()
    })
  }
})
