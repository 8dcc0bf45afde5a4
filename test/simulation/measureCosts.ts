import * as fs from "node:fs"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import type { Storage } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { PostgresServer, query } from "../support/postgresServer.js"
import type { Cost } from "./server.js"

/** Milliseconds of a processor that the server's processes have had. */
const processorOf = (postmaster: number): number => {
  let ticks = 0
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const fields = fs
        .readFileSync(`/proc/${pid}/stat`, "utf8")
        .replace(/^.*\) /, "")
        .split(" ")
      if (Number(fields[1]) === postmaster) ticks += Number(fields[11]) + Number(fields[12])
    } catch {
      // It has ended since.
    }
  }
  return ticks * 10
}

const count = 200

const workflows = [{ workflow: "w", version: "1" }]

/** What each kind of statement takes of a Postgres server on this machine. Needs Linux, which tells what processes took. */
export const measureCosts = async (): Promise<Readonly<Record<string, Cost>>> => {
  // The server's processes do not keep this one.
  const alive = setInterval(() => {}, 1_000)
  const server = await PostgresServer.start()
  try {
    const [row] = await query(server.address, "SHOW data_directory")
    const file = `${row?.["data_directory"]}/postmaster.pid`
    const postmaster = Number(fs.readFileSync(file, "utf8").split("\n")[0])
    const { database, host, port, user } = server.address
    const client = PgClient.layer({ host, port, database, username: user, maxConnections: 10 })
    const measured = Effect.flatMap(PgStorage.store(), (store) => measureIn(store, () => processorOf(postmaster)))
    return await Effect.runPromise(Effect.scoped(Effect.provide(measured, client)))
  } finally {
    await server.close()
    clearInterval(alive)
  }
}

const measureIn = (store: Storage.Store, processor: () => number) =>
  Effect.gen(function* () {
    const costs: Record<string, Cost> = {}
    /** Of one core, for each of so many calls. */
    const measure = <A, E>(calls: ReadonlyArray<Effect.Effect<A, E>>, concurrency: number) =>
      Effect.gen(function* () {
        const [before, since] = [processor(), performance.now()]
        const all = yield* Effect.all(calls, { concurrency })
        return { all, busy: (processor() - before) / calls.length, took: (performance.now() - since) / calls.length }
      })
    const times = <A>(make: (n: number) => A, length = count): ReadonlyArray<A> =>
      Array.from({ length }, (_, n) => make(n))
    /** Alone it has its own statement; fifty at once share one. */
    const both = <A, E>(kind: string, make: (n: number) => Effect.Effect<A, E>, disk: number) =>
      Effect.gen(function* () {
        const alone = yield* measure(times(make), 1)
        const shared = yield* measure(
          times((n) => make(n + count)),
          50
        )
        const row = (50 * shared.busy - alone.busy) / 49
        costs[kind] = { base: Math.max(0, alone.busy - row), row: Math.max(0, row), disk }
        return [...alone.all, ...shared.all]
      })
    const enqueue = (n: number) =>
      store.enqueue({ id: `run-${n}`, workflow: "w", version: "1", input: `"${n}"`, labels: {} })
    const reading = yield* measure(
      times(() => store.find("none")),
      1
    )
    costs["find"] = { base: reading.busy, row: 0, disk: 0 }
    yield* both("enqueue", enqueue, 0)
    const due = { workflows, queues: [], except: [] }
    const tens = yield* measure(
      times((n) => store.claimDue({ ...due, limit: 10 }, `p/${n}`, 600_000), 40),
      1
    )
    const leases = tens.all.flat().flatMap((one) => (one._tag === "Claimed" ? [one.lease] : []))
    const empty = yield* measure(
      times((n) => store.claimDue({ ...due, limit: 10 }, `q/${n}`, 600_000)),
      1
    )
    costs["claimDue"] = { base: empty.busy, row: Math.max(0, (tens.busy - empty.busy) / 10), disk: 0 }
    const line = (n: number) => ({ seq: n, kind: "StepCompleted", step: "s", attempt: 1, at: 1, payload: `"${n}"` })
    const lease = (n: number) => leases[n % leases.length] as Storage.Lease
    yield* both("append", (n) => store.append(lease(n), [line(n + 1)]), 0)
    const [ten] = [leases.slice(0, 10)]
    for (const [kind, make] of [
      ["renew", () => store.renew(ten, 600_000)],
      ["controls", () => store.controls(ten)],
      ["journal", (n: number) => store.journal(lease(n).key)],
      ["signals", (n: number) => store.signals(lease(n).key, 0)],
      ["signal", (n: number) => store.signal(lease(n).run, `k${n}`, "{}")]
    ] as ReadonlyArray<readonly [string, (n: number) => Effect.Effect<unknown, unknown>]>) {
      const { busy } = yield* measure(times(make), 1)
      costs[kind] = { base: busy, row: 0, disk: 0 }
    }
    const half = leases.length / 2
    const suspended = yield* measure(
      times((n) => store.suspend(lease(n), { dueAt: Date.now() + 600_000, signals: 9 }), half),
      1
    )
    costs["suspend"] = { base: suspended.busy, row: 0, disk: 0 }
    const finish = (n: number) => store.finish(lease(n + half), { status: "completed", exit: "1" })
    const alone = yield* measure(times(finish, half / 2), 1)
    const shared = yield* measure(
      times((n) => finish(n + half / 2), half / 2),
      50
    )
    const row = (50 * shared.busy - alone.busy) / 49
    costs["finish"] = { base: Math.max(0, alone.busy - row), row, disk: 0 }
    // What a write takes longer than a read waits for the disk.
    const written = yield* measure(
      times((n) => store.signal("run-0", `late${n}`, "{}"), 300),
      1
    )
    const disk = Math.max(0, written.took - written.busy - (reading.took - reading.busy))
    for (const kind of ["enqueue", "claimDue", "append", "renew", "signal", "suspend", "finish", "release"]) {
      costs[kind] = { ...(costs[kind] ?? costs["suspend"] ?? { base: 0, row: 0 }), disk }
    }
    return Object.fromEntries(Object.entries(costs).map(([kind, cost]) => [kind, rounded(cost)]))
  })

const rounded = ({ base, disk, row }: Cost): Cost => ({ base: to3(base), row: to3(row), disk: to3(disk) })

const to3 = (millis: number): number => Math.round(millis * 1_000) / 1_000
