import { Effect } from "effect"
import { Step, Workflow } from "effect-recovery"
import { Operator } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"

const backup = Step.make("backup", { run: Effect.log("backing up") })

const Nightly = Workflow.make("nightly", {}, () => backup)

// Nothing is opened until something is asked.
export default Operator.define({
  storage: SqliteStorage.layer({ filename: "recovery.db" }),
  workflows: [Nightly]
})
