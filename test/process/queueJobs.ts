/** The workflow and the queue of the workers that are killed, and the ledger of its runs. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Queue, Step, Workflow } from "effect-recovery"

export const limits = { concurrency: 8, perKey: 1, starts: 10, millis: 300 } as const

export const Work = Queue.make("work", {
  concurrency: limits.concurrency,
  perKey: limits.perKey,
  rate: { limit: limits.starts, per: limits.millis }
})

/** One line of the ledger: a run begins or ends in a worker, or the parent kills a worker. */
export type Line =
  | { readonly what: "begin" | "end"; readonly worker: string; readonly run: string; readonly key: string }
  | { readonly what: "kill"; readonly worker: string }

/** The bytes of a line of the ledger: no line crosses a page, so neither a kill nor a reader finds half of one. */
export const lineBytes = 128

/** The lines are in the order of what happened. */
export const write = (file: string, line: Line): void =>
  fs.appendFileSync(file, `${JSON.stringify(line).padEnd(lineBytes - 1)}\n`)

export const makeWork = (file: string, worker: string) =>
  Workflow.make("work", { input: Schema.Struct({ key: Schema.String, millis: Schema.Number }) }, ({ key, millis }) =>
    Step.make("work", {
      run: (_: undefined, { run }) => {
        const note = (what: "begin" | "end") => Effect.sync(() => write(file, { what, worker, run, key }))
        return note("begin").pipe(Effect.zipRight(Effect.sleep(millis)), Effect.zipRight(note("end")))
      }
    })(undefined)
  )
