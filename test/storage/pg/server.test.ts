import * as fs from "node:fs"
import * as SqlClient from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { useProgram } from "../../support/children.js"
import { inOwnPostgres, inPglite, inPostgres, noServer } from "../../support/postgres.js"
import { query } from "../../support/postgresServer.js"
import { eventually } from "../../support/time.js"

const whoAmI = Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ user: string }>`SELECT current_user AS "user"`)

inPostgres("the server of the tests", (database) => {
  it.live("has a database for each file, which the program owns", () =>
    Effect.gen(function* () {
      expect(yield* Effect.provide(whoAmI, database.client())).toEqual([{ user: "program" }])
      yield* Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CREATE TABLE mine (a INT)`).pipe(
        Effect.provide(database.client())
      )
      expect(yield* database.query("SELECT count(*)::int AS rows FROM mine")).toEqual([{ rows: 0 }])
    })
  )

  it.live("runs out of connections when a test says so", () =>
    Effect.gen(function* () {
      yield* database.limitConnections(0)
      const error = yield* Effect.flip(Effect.provide(whoAmI, database.client()))
      yield* database.limitConnections(-1)
      expect(error).toMatchObject({ cause: { code: "53300" } })
    })
  )
})

inOwnPostgres("a server of a test's own", (database, server) => {
  it.live("is stopped and started", () =>
    Effect.gen(function* () {
      for (const ending of ["fast", "immediate", "killed"] as const) {
        yield* Effect.promise(() => server().restart(ending))
        expect(yield* Effect.provide(whoAmI, database.client())).toEqual([{ user: "program" }])
      }
    })
  )
})

describe.skipIf(noServer !== undefined)("a server whose process is killed", () => {
  const { start } = useProgram("postgresOwner.ts")

  it.live("ends, and its folder is removed", () =>
    Effect.gen(function* () {
      const owner = start()
      const [, port, folder = ""] = (yield* Effect.promise(() =>
        owner.line((line) => line.startsWith("started"))
      )).split(" ")
      const address = { host: "127.0.0.1", port: Number(port), user: "postgres", database: "postgres" }
      const answers = Effect.promise(() =>
        query(address, "SELECT 1").then(
          () => true,
          () => false
        )
      )
      expect(yield* answers).toBe(true)
      owner.signal("SIGKILL")
      yield* eventually(
        Effect.sync(() => fs.existsSync(folder)),
        (exists) => !exists
      )
      expect(yield* answers).toBe(false)
    })
  )
})

inPglite("PGlite", (database) => {
  it.live("answers a stock client", () =>
    Effect.gen(function* () {
      expect(yield* Effect.provide(whoAmI, database.client())).toEqual([{ user: "postgres" }])
    })
  )
})
