/** One step, on a storage that cannot know whether the owner of a lease is dead. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Step, Storage, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { Ledger, Testing } from "effect-recovery/testing"

const Job = Workflow.make("job", {}, () => Step.make("step", { run: Ledger.done("step") }))

Effect.runPromise(
  Testing.child(Job, {
    input: undefined,
    storage: (folder) =>
      Layer.scoped(
        Storage.Storage,
        Effect.flatMap(SqliteStorage.store({ filename: `${folder}/runs.db` }), (store) =>
          Storage.make(store, { owner: `process ${process.pid}`, lease: "1500 millis" })
        )
      )
  })
)
