/** The workflow of the liveness test, and the ledger of its effects. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { RetryPolicy, Signal, Step, Strategy, Transaction, Workflow } from "effect-recovery"
import { seeded } from "../support/children.js"

export class Flaky extends Schema.TaggedError<Flaky>()("Flaky", {}) {}

export const Go = Signal.make("go", Schema.Number)

/** A line with this text names a worker that did nothing for longer than its lease. */
export const stoodStill = "stood still"

/** One line of the ledger: an effect, and the execution of the run that made it. */
export interface Line {
  readonly run: string
  readonly what: string
  readonly token: number
  readonly worker: string
}

export const ledger = (file: string, worker: string) => {
  const write = (run: string, what: string, token: number) =>
    Effect.sync(() => fs.appendFileSync(file, `${JSON.stringify({ run, what, token, worker } satisfies Line)}\n`))
  return { write }
}

type Ledger = ReturnType<typeof ledger>

/** Another program for each seed: it sleeps, asks, waits for signals, fails and recovers, and compensates. */
export const makeJob = ({ write }: Ledger) => {
  const work = (name: string, failures: number, asks: boolean) =>
    Step.make(name, {
      success: Schema.Number,
      error: Flaky,
      run: (seed: number, { number, run, token }) =>
        Effect.zipRight(
          write(run, name, token),
          number <= failures || asks ? Effect.fail(new Flaky()) : Effect.succeed(seed % 7)
        ),
      recover: {
        Flaky: asks
          ? Strategy.manual(`How much is ${name}?`)
          : Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: "60 millis", jitter: "none" }))
      }
    })

  const act = (seed: number, i: number) => {
    const draw = seeded(seed * 31 + i)
    const name = `step-${i}`
    switch (draw(8)) {
      case 0:
        return Effect.as(Workflow.sleep(draw(150), { name }), 1)
      case 1:
        return Go.wait({ id: name, within: 300 }).pipe(Effect.catchTag("SignalTimeout", () => Effect.succeed(2)))
      case 2:
        return work(name, 0, true)(seed)
      case 3:
        return work(name, 1 + draw(2), false)(seed)
      case 4:
        return Transaction.run(
          Effect.zipRight(
            Step.make(name, {
              run: (_: number, { run, token }) => write(run, name, token),
              compensate: ({ idempotencyKey }) => write(idempotencyKey.split("/")[1] ?? "", `undo ${name}`, 0)
            })(0),
            draw(2) === 0 ? Effect.fail(new Flaky()) : Effect.succeed(3)
          )
        ).pipe(
          Effect.catchTags({ Flaky: () => Effect.succeed(4), RollbackFailed: () => Effect.die("the rollback failed") })
        )
      case 5:
        return Effect.map(
          Effect.all([work(`${name}a`, 0, false)(seed), work(`${name}b`, 1, false)(seed)], { concurrency: 2 }),
          ([a, b]) => a + b
        )
      default:
        return work(name, 0, false)(seed)
    }
  }

  return Workflow.make("job", { input: Schema.Number, success: Schema.Number, error: Flaky }, (seed) =>
    Effect.reduce(
      Array.from({ length: 3 + (seed % 4) }, (_, i) => i),
      0,
      (sum, i) => Effect.map(act(seed, i), (value) => sum + value)
    )
  )
}
