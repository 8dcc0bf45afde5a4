import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { isSoak } from "../support/campaigns.js"
import { Child } from "../support/children.js"
import { inPostgres } from "../support/postgres.js"

const start = (env: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => new Child("dist-examples/cluster/main.js", [], { env: { ...process.env, ...env } })),
    (child) =>
      Effect.promise(() => {
        child.signal("SIGKILL")
        return child.exited
      })
  )

describe("examples/cluster", () => {
  it.scopedLive("says how to give it a database", () =>
    Effect.gen(function* () {
      const child = yield* start({ DATABASE_URL: "" })
      assert.strictEqual(yield* Effect.promise(() => child.exited), 1)
      assert.match(child.lines.join("\n"), /Set DATABASE_URL to a Postgres database/)
    })
  )
})

inPostgres("examples/cluster on Postgres", (database) => {
  it.scopedLive.runIf(isSoak)("kills one of three runners, shows where its runs continue, and ends by itself", () =>
    Effect.gen(function* () {
      const { database: name, host, port, user } = database.address
      const child = yield* start({ DATABASE_URL: `postgres://${user}@${host}:${port}/${name}` })
      assert.strictEqual(yield* Effect.promise(() => child.exited), 0)
      const shown = child.lines.join("\n")
      const [, victim] = /SIGKILL {2}(runner \d), which had report/.exec(shown) ?? []
      assert.match(shown, /report-\d+ continues in runner \d, [\d.]+ s after the kill/)
      assert.notInclude(shown, `continues in ${victim},`)
      assert.strictEqual(shown.match(/^ {2}yes {2}/gm)?.length, 3)
    })
  )
})
