import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Checkpoint from "../durable/Checkpoint.js"
import * as Operator from "../operate/Operator.js"
import * as PipelineRules from "../rules/PipelineRules.js"
import * as Resolutions from "../rules/Resolutions.js"
import * as SqliteStorage from "../storage/sqlite/SqliteStorage.js"

const sizeOf = (file: string) =>
  Effect.sync(() =>
    Option.map(Option.fromNullable(fs.statSync(file, { throwIfNoEntry: false })), ({ size }) => ({ size }))
  )

export const operatorOf = (filename: string, readonly: boolean): Operator.Operator =>
  Operator.define({
    storage: SqliteStorage.layer({ filename, readonly }),
    checks: [Checkpoint.artifacts(sizeOf)],
    // Without a config file, the command line classifies pipeline failures.
    rules: PipelineRules.rules,
    resolutions: Resolutions.canned
  })()
