import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "vitest"
import { useProgram } from "../support/children.js"
import { useChildStorage } from "../support/childStorage.js"
import { drivers } from "../support/drivers.js"

describe("a run that kills each process that resumes it", () => {
  useChildStorage(() => ({ kind: "sqlite", driver: drivers[0]?.name ?? "better-sqlite3" }))
  const { folder, start } = useProgram("cutShort.ts")

  it.each([
    { id: "step", ended: "done" },
    { id: "compensation", ended: "declined" }
  ])(
    "in a $id does so as often as allowed, then it is on hold until a person releases it",
    async ({ ended, id }) => {
      const ledger = path.join(folder, id)
      const attempts = () => fs.readFileSync(ledger, "utf8").trim().split("\n").length
      /** As a supervisor does, which restarts a worker that has ended; at most so often that the test ends. */
      const restarted = async () => {
        for (let killed = 0; killed < 6; killed++) {
          const child = start(folder, ledger, "execute", id)
          if ((await child.exited) !== "SIGKILL") return { killed, said: child.lines.at(-1), errors: child.errors }
        }
        return assert.fail("it was never put on hold")
      }
      const last = (mode: string) => {
        const child = start(folder, ledger, mode, id)
        return child.end().then(() => child.lines.at(-1) ?? child.errors)
      }
      const first = await restarted()
      assert.deepInclude(first, { killed: 2, said: "RunHeld cut-short" }, first.errors)
      // Executing it again does not begin an attempt.
      assert.strictEqual(await last("execute"), "RunHeld cut-short")
      assert.strictEqual(attempts(), 2)
      assert.strictEqual(await last("release"), "done")
      assert.strictEqual(await last("survive"), ended)
      assert.strictEqual(attempts(), 3)
    },
    120_000
  )
})
