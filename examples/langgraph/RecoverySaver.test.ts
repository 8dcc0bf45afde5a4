import * as os from "node:os"
import * as path from "node:path"
import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation"
import { type Layer, ManagedRuntime } from "effect"
import { Storage } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { RecoverySaver } from "./RecoverySaver.js"

const layers: Readonly<Record<string, () => Layer.Layer<Storage.Storage, Storage.StorageError>>> = {
  memory: () => Storage.layerMemory,
  SQLite: () =>
    SqliteStorage.layer({
      filename: path.join(os.tmpdir(), `langgraph-${crypto.randomUUID()}.db`),
      durability: "process-crash"
    })
}

// LangGraph's own suite: https://www.npmjs.com/package/@langchain/langgraph-checkpoint-validation
for (const [name, layer] of Object.entries(layers)) {
  const runtimes = new WeakMap<RecoverySaver, ManagedRuntime.ManagedRuntime<Storage.Storage, unknown>>()
  const initializer = {
    checkpointerName: `RecoverySaver on ${name}`,
    createCheckpointer: async () => {
      const runtime = ManagedRuntime.make(layer())
      const saver = new RecoverySaver(await runtime.runtime())
      runtimes.set(saver, runtime)
      return saver
    },
    destroyCheckpointer: async (saver: RecoverySaver) => runtimes.get(saver)?.dispose()
  }
  validate(initializer)
  deltaChannelHistoryTests(initializer)
}
