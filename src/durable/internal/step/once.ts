import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { commitOnce } from "../../../storage/onceTable.js"
import { StorageError } from "../../../storage/Storage.js"
import * as Execution from "../execution/execution.js"
import type { AnyEffect } from "./definition.js"
import { decodeText } from "./replayStep.js"
import { append, attemptOf, committed, encodeSuccess, type StepUse } from "./stepUse.js"

/** Commits the rows of the body with its result in the program's database, unless they are there already. */
export const once = (use: StepUse, number: number, run: AnyEffect): AnyEffect =>
  Effect.uninterruptibleMask((restore) => {
    const { execution } = use
    const { idempotencyKey: key, token } = attemptOf(use, number)
    const { outside } = execution.storage
    const what = `the result of step "${use.key}"`
    const body = Effect.flatMap(run, (value) => {
      if (use.writes.length > 0) return Execution.stop(execution, stateWritten(use.key))
      // A step without a result has no text.
      const text = Effect.map(encodeSuccess(use, value), (text) => text ?? "")
      const stored = Effect.flatMap(text, (text) => Execution.orStop(execution, outside.encode(text, what)))
      return Effect.map(stored, (stored) => [value, stored] as const)
    })
    const decode = (stored: string) =>
      Effect.flatMap(Execution.orStop(execution, outside.decode(stored, what)), (text) =>
        decodeText(use, text === "" ? undefined : text, "success", use.definition.success)
      )
    const commit = (over?: number): AnyEffect =>
      Effect.flatMap(
        committed(use, body, (tagged) => commitOnce({ key, token, over }, tagged, restore)),
        (answer) => {
          // Only the journal knows who has the lease: it takes another line, or refuses it and stops the run.
          if (answer._tag === "Overtaken") {
            return Effect.zipRight(append(use, "AttemptStarted", number), commit(answer.token))
          }
          return Effect.map(answer._tag === "Ran" ? Effect.succeed(answer.value) : decode(answer.result), (value) => {
            use.happened = { value }
            use.output.value = Option.some(value)
            return value
          })
        }
      )
    return commit()
  })

/** A process that finds the result in the row does not run the body, so it could not write the State. */
const stateWritten = (step: string) =>
  new StorageError({
    reason: "Client",
    operation: `Committing step "${step}"`,
    cause: new Error(
      "the step has written State, which is not in its database: return the value, and write it after the step"
    )
  })
