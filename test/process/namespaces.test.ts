import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Workflow } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type Child, useProgram } from "../support/children.js"
import { Lan, type Machine, noNamespaces } from "../support/namespaces.js"
import { noServer } from "../support/postgres.js"
import { PostgresServer } from "../support/postgresServer.js"
import { makePgJobs } from "./pgJobs.js"

const [Two] = makePgJobs(() => Effect.void)

const reason = noServer ?? noNamespaces

describe.skipIf(reason !== undefined)(
  `workers on machines of their own${reason === undefined ? "" : ` (${reason})`}`,
  () => {
    const { startIn } = useProgram("pgWorker.ts")
    const children = new Set<Child>()
    let lan: Lan | undefined
    let server: PostgresServer | undefined
    beforeAll(async () => {
      lan = await Lan.make()
    })
    afterAll(async () => {
      for (const child of children) child.signal("SIGKILL")
      await server?.close()
      lan?.close()
    })

    it("a machine that the network cuts off is known to be dead long before its leases of 30 seconds end, though hints are under way to it", async () => {
      if (lan === undefined) return assert.fail("no network")
      const [one, other] = [await lan.connect(), await lan.connect()]
      const [enter = "", ...inside] = lan.server
      server = await PostgresServer.start({ enter: [enter, ...inside], network: lan.addresses })
      const { address } = server
      const work = async (machine: Machine & { readonly serverAddress: string }, name: string, hangs = "") => {
        const child = startIn(machine.enter, JSON.stringify({ ...address, host: machine.serverAddress }), name, hangs)
        children.add(child)
        await child.line((line) => line === "works")
        return child
      }
      const { database, host, port, user: username } = address
      const outside = ManagedRuntime.make(
        PgStorage.layer().pipe(Layer.provide(PgClient.layer({ host, port, database, username })), Layer.orDie)
      )
      const start = (id: string) => outside.runPromise(Workflow.start(Two, { id }))
      const victim = await work(one, "victim", "second")
      await start("cut off")
      await victim.line((line) => line === "began second of cut off")
      const heir = await work(other, "heir")
      one.cut()
      const cutAt = performance.now()
      // The server sends hints of these runs to both machines, of which one does not acknowledge them.
      for (let i = 0; i < 8; i++) await start(`hint-${i}`)
      await heir.line((line) => line === "began second of cut off")
      const millis = performance.now() - cutAt
      console.log(`runs of a machine that was cut off continue after ${Math.round(millis)} ms`)
      await outside.runPromise(Workflow.join(Two, "cut off"))
      // The lease ends 20 to 30 seconds after its last renewal, and the sweep of these workers is an hour.
      assert.isBelow(millis, 20_000)
      await outside.dispose()
    })
  }
)
