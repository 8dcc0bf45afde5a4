import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Storage from "../../storage/Storage.js"
import type { Ended } from "../exit.js"
import { ended } from "../exit.js"
import type { Options } from "./exec.js"

/** The step that records the arguments of the command. */
export const recorded = "command line"

/** The step that runs the command. */
export const command = "command"

export const Arguments = Schema.Array(Schema.String)

const decode = Schema.decodeUnknownOption(Schema.parseJson(Arguments))

/**
 * What a start does: nothing, since the task is completed; resume the task, or
 * begin it; or begin it again, after what is on record.
 */
export type Plan = "skip" | "continue" | "restart"

const journalOf = ({ key }: Storage.Run) => Effect.flatMap(Storage.Storage, ({ journal }) => journal(key))

type Journal = ReadonlyArray<Storage.Entry>

/** The arguments that the task was last started with; none if it was not started. */
const argumentsIn = (journal: Journal) =>
  decode(journal.filter(({ kind, step }) => kind === "StepCompleted" && step === recorded).at(-1)?.payload)

/** Certain before the run has its outcome: from then on the command is not run again. */
const hasSucceededIn = (journal: Journal): boolean =>
  journal.filter(({ step }) => step === command).at(-1)?.kind === "StepCompleted"

/** Whether the command of a run has succeeded. */
export const hasSucceeded = (id: string): Effect.Effect<boolean, Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const found = yield* (yield* Storage.Storage).find(id)
    return Option.isSome(found) && hasSucceededIn(yield* journalOf(found.value))
  })

const same = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && a.every((one, i) => one === b[i])

/** Decides by the record alone what to do, or refuses. Changes nothing. */
export const planOf = (
  { again, task }: Pick<Options, "again" | "task">,
  id: string,
  given: ReadonlyArray<string>
): Effect.Effect<Plan, Ended | Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const found = yield* storage.find(id)
    if (Option.isNone(found)) return "continue"
    const journal = yield* journalOf(found.value)
    const isSame = Option.match(argumentsIn(journal), {
      onNone: () => true,
      onSome: (last) => same(last, given)
    })
    switch (found.value.outcome?.status) {
      case "completed": {
        if (again === "skip") return "skip"
        if (again === "refuse") {
          return yield* ended("Refused", `Task "${task}" is already completed. With --again run it is run again.`)
        }
        if (isSame) return "restart"
        const why = `Task "${task}" is completed, with another command. Nothing was changed.`
        return yield* ended("Refused", `${why} Give the same command to run it again, or another --task.`)
      }
      case "failed":
      case "exhausted":
        return "restart"
      default:
        // It was interrupted or killed. With the same command its attempts count on.
        return isSame || hasSucceededIn(journal) ? "continue" : "restart"
    }
  })
