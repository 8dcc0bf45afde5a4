import * as Effect from "effect/Effect"
import * as Workflow from "../../../durable/Workflow.js"
import type * as Storage from "../../../storage/Storage.js"
import { AdoptionRefused } from "../../OperateError.js"
import type { Adoption, AdoptOptions } from "../../RecoveryOptions.js"
import type { Settings } from "./plan.js"

/** Moves the open runs of a version to another one that the manager has. */
export const adoptFrom = (
  { workflows }: Settings,
  workflow: string,
  { from, to }: AdoptOptions
): Effect.Effect<Adoption, AdoptionRefused | Storage.StorageError, unknown> =>
  Effect.gen(function* () {
    const known = workflows.filter(({ name }) => name === workflow)
    const versions = [...new Set(known.map(({ version }) => version))]
    const [version, ...more] = versions.filter((one) => one !== from && (to === undefined || one === to))
    const found = known.find((one) => one.version === version)
    if (found === undefined || more.length > 0) {
      const reason = more.length > 0 ? "Ambiguous" : missing(versions, from, to)
      return yield* new AdoptionRefused({ workflow, from, to, known: versions, reason })
    }
    const moved = yield* Workflow.adopt(found, { from })
    return { workflow, from, to: found.version, ...moved }
  })

/** Why there is no version to move to. */
const missing = (versions: ReadonlyArray<string>, from: string, to: string | undefined) => {
  if (versions.length === 0) return "UnknownWorkflow"
  return to === undefined || to === from ? "SameVersion" : "UnknownVersion"
}
