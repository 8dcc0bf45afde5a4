/** One engine of B4p in a process of its own. Runs what its parent asks for, and answers with workflows per second. */
import * as crypto from "node:crypto"
import * as readline from "node:readline"
import { seconds } from "../harness.mjs"

const [engine, url] = process.argv.slice(2)

let counter = 0
const nextId = () => `run-${process.pid}-${++counter}`

const ours = async () => {
  const Effect = await import("effect/Effect")
  const Layer = await import("effect/Layer")
  const ManagedRuntime = await import("effect/ManagedRuntime")
  const Redacted = await import("effect/Redacted")
  const { PgClient } = await import("@effect/sql-pg")
  const { PgStorage } = await import("../../dist/node/pg.js")
  const { makeOurs } = await import("./ours.mjs")
  const { execute } = makeOurs(() => Effect.void)
  const client = PgClient.layer({ url: Redacted.make(url), maxConnections: 20 })
  const runtime = ManagedRuntime.make(PgStorage.layer().pipe(Layer.provide(client)))
  return (count, concurrency) => {
    const ids = Array.from({ length: count }, nextId)
    return runtime.runPromise(Effect.forEach(ids, execute, { concurrency, discard: true }))
  }
}

/** `count` calls, `concurrency` at a time. */
const inParallel = async (count, concurrency, call) => {
  let left = count
  const lane = async (n) => {
    while (left-- > 0) await call(n)
  }
  await Promise.all(Array.from({ length: concurrency }, (_, n) => lane(n)))
}

const dbos = async () => {
  const { DBOS } = await import("@dbos-inc/dbos-sdk")
  DBOS.setConfig({ name: "bench", systemDatabaseUrl: url, logLevel: "error", runAdminServer: false })
  const workflow = DBOS.registerWorkflow(
    async (id) => {
      let sum = 0
      for (const n of [1, 2, 3, 4]) {
        const result = await DBOS.runStep(async () => ({ id, n }), { name: `step-${n}` })
        sum += result.n
      }
      return sum
    },
    { name: "bench" }
  )
  await DBOS.launch()
  return (count, concurrency) =>
    inParallel(count, concurrency, async () => {
      const id = nextId()
      const handle = await DBOS.startWorkflow(workflow, { workflowID: id })(id)
      await handle.getResult()
    })
}

/** Six rows per workflow, each committed before the next, with a digest. */
const floor = async () => {
  const { default: Pg } = await import("pg")
  const clients = Array.from({ length: 50 }, () => new Pg.Client({ connectionString: url }))
  await Promise.all(clients.map((client) => client.connect()))
  await clients[0].query(
    "CREATE TABLE steps (run TEXT, step INTEGER, payload TEXT, digest TEXT, PRIMARY KEY (run, step))"
  )
  return (count, concurrency) =>
    inParallel(count, concurrency, async (n) => {
      const run = nextId()
      for (let step = 0; step < 6; step++) {
        const payload = JSON.stringify({ id: run, n: step })
        const digest = crypto.createHash("sha256").update(payload).digest("hex")
        await clients[n].query("INSERT INTO steps VALUES ($1, $2, $3, $4)", [run, step, payload, digest])
      }
    })
}

const run = await { ours, dbos, floor }[engine]()

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [count, concurrency] = line.split(" ").map(Number)
  console.log(`per second ${count / (await seconds(() => run(count, concurrency)))}`)
}
process.exit(0)
