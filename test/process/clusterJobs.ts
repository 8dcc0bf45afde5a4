/** The workflow of the runners that are killed, and the ledger of its steps. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Signal, Step, Workflow } from "effect-recovery"

export const Go = Signal.make("go", Schema.Number)

/** One line of the ledger, in the order of what happened: a step begins or ends in a runner. */
export interface Line {
  readonly what: "begin" | "end"
  readonly runner: string
  readonly run: string
  readonly step: string
  readonly token: number
}

/** Three steps, with a signal between the first and the second one. */
export const makeClusterJob = (ledger: string, runner: string, hangs = "") => {
  const write = (line: Omit<Line, "runner">) =>
    Effect.sync(() => fs.appendFileSync(ledger, `${JSON.stringify({ ...line, runner } satisfies Line)}\n`))
  const step = (name: string) =>
    Step.make(name, {
      run: (millis: number, { run, token }) => {
        const work = name === hangs ? Effect.never : Effect.sleep(millis)
        const end = write({ what: "end", run, step: name, token })
        return Effect.zipRight(write({ what: "begin", run, step: name, token }), Effect.zipRight(work, end))
      }
    })
  const [first, second, third] = [step("first"), step("second"), step("third")]
  return Workflow.make("job", { input: Schema.Number, success: Schema.Number }, (millis) =>
    first(millis).pipe(
      Effect.zipRight(Go.wait({ id: "go" })),
      Effect.tap(() => second(millis)),
      Effect.tap(() => third(millis))
    )
  )
}
