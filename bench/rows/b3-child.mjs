/** One engine of B3: reads `save|load|flush <items> <count>`, answers with how often per second, and per second of CPU time. */
import * as readline from "node:readline"

const [engine, filename] = process.argv.slice(2)

const item = (i) => ({
  id: `file-${i}`,
  size: i * 37,
  done: i % 2 === 0,
  tags: ["a", "b"],
  note: `${"lorem ipsum ".repeat(2)}${i}`
})

/** One percent of it changes from one save to the next. */
const states = new Map()
const stateOf = (items, n) => {
  const state = states.get(items) ?? {
    files_processed: 0,
    total: items,
    items: Array.from({ length: items }, (_, i) => item(i))
  }
  states.set(items, state)
  state.files_processed = n
  for (let i = 0; i < Math.max(1, items / 100); i++) {
    const at = (n * 7 + i * 13) % items
    state.items[at] = { ...state.items[at], size: n * 31 + i }
  }
  return state
}

const { load, save, flush } = await (engine === "ours" ? ours() : langgraph())

const lines = readline.createInterface({ input: process.stdin })
let n = 0
for await (const line of lines) {
  const [what, items, count] = line.split(" ")
  if (what === "flush") {
    await flush()
    console.log("0 0")
    continue
  }
  const started = process.hrtime.bigint()
  const before = process.cpuUsage()
  if (what === "save") await save(Number(items), Number(count), () => stateOf(Number(items), ++n))
  else await load(Number(items), Number(count))
  const { system, user } = process.cpuUsage(before)
  const seconds = Number(process.hrtime.bigint() - started) / 1e9
  console.log([seconds, (system + user) / 1e6].map((each) => Number(count) / each).join(" "))
}
process.exit(0)

async function ours() {
  const Effect = await import("effect/Effect")
  const Layer = await import("effect/Layer")
  const Option = await import("effect/Option")
  const Runtime = await import("effect/Runtime")
  const Schema = await import("effect/Schema")
  const Scope = await import("effect/Scope")
  const { Checkpoint } = await import("../../dist/node/index.js")
  const { SqliteClient, SqliteStorage } = await import("../../dist/node/sqlite.js")
  const Item = Schema.Struct({
    id: Schema.String,
    size: Schema.Number,
    done: Schema.Boolean,
    tags: Schema.Array(Schema.String),
    note: Schema.String
  })
  const schema = Schema.Struct({ files_processed: Schema.Number, total: Schema.Number, items: Schema.Array(Item) })
  const checkpoints = new Map()
  const of = (items) => {
    const known = checkpoints.get(items) ?? Checkpoint.make(`state-${items}`, { schema })
    checkpoints.set(items, known)
    return known
  }
  const scope = await Effect.runPromise(Scope.make())
  const layer = SqliteStorage.layerClient().pipe(
    Layer.provideMerge(SqliteClient.layer({ filename, durability: "process-crash" }))
  )
  const runtime = await Effect.runPromise(Scope.extend(Layer.toRuntime(layer), scope))
  const run = Runtime.runPromise(runtime)
  const { database } = await run(SqliteClient.SqliteClient)
  return {
    save: (items, count, next) =>
      run(
        Effect.repeatN(
          Effect.suspend(() => of(items).save(next())),
          count - 1
        )
      ),
    load: (items, count) =>
      run(
        Effect.repeatN(
          Effect.map(of(items).latest(), (latest) => {
            if (Option.getOrThrow(latest).state.items.length !== items) throw new Error("another state")
          }),
          count - 1
        )
      ),
    flush: async () => void database.pragma("wal_checkpoint(TRUNCATE)")
  }
}

async function langgraph() {
  const { SqliteSaver } = await import("@langchain/langgraph-checkpoint-sqlite")
  const saver = SqliteSaver.fromConnString(filename)
  const config = (items) => ({ configurable: { thread_id: `state-${items}`, checkpoint_ns: "" } })
  let id = 0
  const checkpoint = (state) => ({
    v: 4,
    // Ids of checkpoints are ordered texts.
    id: String(++id).padStart(12, "0"),
    ts: new Date().toISOString(),
    channel_values: { state },
    channel_versions: { state: id },
    versions_seen: {}
  })
  return {
    save: async (items, count, next) => {
      for (let i = 0; i < count; i++) {
        await saver.put(config(items), checkpoint(next()), { source: "loop", step: i, parents: {} })
      }
    },
    load: async (items, count) => {
      for (let i = 0; i < count; i++) {
        const tuple = await saver.getTuple(config(items))
        if (tuple.checkpoint.channel_values.state.items.length !== items) throw new Error("another state")
      }
    },
    flush: async () => void saver.db.pragma("wal_checkpoint(TRUNCATE)")
  }
}
