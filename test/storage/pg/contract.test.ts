import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { PgStorage } from "effect-recovery/pg"
import { Testing } from "effect-recovery/testing"
import { inPostgres } from "../../support/postgres.js"

/** Most operations are those of `SqlStorage`, which has passed all. These go over the connection for leases. */
const isOverSession = (name: string): boolean => /renew|releas|^a lock (belongs|expires|has)/.test(name)

inPostgres("PgStorage: the storage contract", (database) => {
  /** Each check has tables of its own. */
  let stores = 0
  const store = Effect.suspend(() =>
    Effect.flatMap(Layer.build(database.client()), (client) =>
      Effect.provide(PgStorage.store({ prefix: `contract_${++stores}_`, clock: "program" }), client)
    )
  )
  const isLong = process.env["RECOVERY_SOAK"] !== undefined
  for (const { check, name } of Testing.storageContract(store))
    if (isLong || isOverSession(name)) it.live(name, () => check)
})
