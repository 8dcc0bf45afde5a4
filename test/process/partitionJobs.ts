/** The workflow of the campaign on a faulty network. Its effects are rows of a ledger that the network does not reach. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Signal, Step, Workflow } from "effect-recovery"
import { seeded } from "../support/children.js"

export const Go = Signal.make("go", Schema.Number)

/** One line of the ledger: a step that a worker has begun. */
export interface Line {
  readonly run: string
  readonly step: string
  readonly token: number
  readonly worker: string
}

/** A line with this step names a worker that did nothing for half its lease: a busy machine has paused it. */
export const stoodStill = "stood still"

export const write = (file: string, line: Line): void => fs.appendFileSync(file, `${JSON.stringify(line)}\n`)

/** How many steps a run has, what its sleep is and whether it waits for a signal. */
export const shapeOf = (seed: number) => {
  const draw = seeded(seed)
  return { steps: 2 + draw(4), sleepMillis: draw(3) === 0 ? 1 + draw(400) : 0, waits: draw(2) === 0 }
}

/** Adds the number of each step, and what the signal says. */
export const outcomeOf = (seed: number, signalled: number): number => {
  const { steps, waits } = shapeOf(seed)
  return (steps * (steps + 1)) / 2 + (waits ? signalled : 0)
}

export const makeJob = (ledger: string, worker: string) =>
  Workflow.make("networked", { input: Schema.Number, success: Schema.Number }, (seed) =>
    Effect.gen(function* () {
      const { sleepMillis, steps, waits } = shapeOf(seed)
      let sum = 0
      for (let i = 1; i <= steps; i++) {
        const step = Step.make(`step-${i}`, {
          success: Schema.Number,
          run: (number: number, { run, token }) =>
            Effect.as(
              Effect.sync(() => write(ledger, { run, step: `step-${i}`, token, worker })),
              number
            )
        })
        sum += yield* step(i)
        if (i === 1 && sleepMillis > 0) yield* Workflow.sleep(sleepMillis)
        if (i === 1 && waits) sum += yield* Go.wait({ id: "go" })
      }
      return sum
    })
  )
