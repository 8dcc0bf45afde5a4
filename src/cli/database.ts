import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Checkpoint from "../durable/Checkpoint.js"
import * as Operator from "../operate/Operator.js"
import * as PipelineRules from "../rules/PipelineRules.js"
import * as Resolutions from "../rules/Resolutions.js"
import type * as Storage from "../storage/Storage.js"

const sizeOf = (file: string) =>
  Effect.sync(() =>
    Option.map(Option.fromNullable(fs.statSync(file, { throwIfNoEntry: false })), ({ size }) => ({ size }))
  )

export const operatorOf = (storage: Layer.Layer<Storage.Storage, unknown>): Operator.Operator =>
  Operator.define({
    storage,
    checks: [Checkpoint.artifacts(sizeOf)],
    // Without a config file, the command line classifies pipeline failures.
    rules: PipelineRules.rules,
    resolutions: Resolutions.canned
  })()
