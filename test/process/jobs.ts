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

/** What happened to a recovery or a run in a worker, which Insights has to have on record. */
export const ended = { recovery: "recovery ended", failure: "run failed" } as const

/** The part `i` of the program of a seed, and what its random numbers decide. */
const partOf = (seed: number, i: number) => {
  const draw = seeded(seed * 31 + i)
  switch (draw(8)) {
    case 0:
      return { kind: "sleep", millis: draw(150) } as const
    case 1:
      return { kind: "signal" } as const
    case 2:
      return { kind: "question" } as const
    case 3:
      return { kind: "retries", failures: 1 + draw(2) } as const
    case 4:
      return { kind: "transaction", fails: draw(2) === 0 } as const
    case 5:
      return { kind: "parallel" } as const
    default:
      return { kind: "step" } as const
  }
}

const partsOf = (seed: number) => Array.from({ length: 3 + (seed % 4) }, (_, i) => partOf(seed, i))

/** Whether a run of this seed may end so: signals may be late, and only a question may be answered with an abort. */
export const mayEnd = (seed: number, result: number | "failed"): boolean => {
  const parts = partsOf(seed)
  if (result === "failed") return parts.some(({ kind }) => kind === "question")
  const least = parts.reduce((sum, part) => {
    switch (part.kind) {
      case "sleep":
        return sum + 1
      case "signal":
        return sum + 2
      case "question":
        return sum + 6
      case "transaction":
        return sum + (part.fails ? 4 : 3)
      case "parallel":
        return sum + 2 * (seed % 7)
      default:
        return sum + (seed % 7)
    }
  }, 0)
  const signals = parts.filter(({ kind }) => kind === "signal").length
  const more = result - least
  return more >= 0 && more % 3 === 0 && more / 3 <= signals
}

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
    const part = partOf(seed, i)
    const name = `step-${i}`
    switch (part.kind) {
      case "sleep":
        return Effect.as(Workflow.sleep(part.millis, { name }), 1)
      case "signal":
        return Go.wait({ id: name, within: 300 }).pipe(Effect.catchTag("SignalTimeout", () => Effect.succeed(2)))
      case "question":
        return work(name, 0, true)(seed)
      case "retries":
        return work(name, part.failures, false)(seed)
      case "transaction":
        return Transaction.run(
          Effect.zipRight(
            Step.make(name, {
              run: (_: number, { run, token }) => write(run, name, token),
              compensate: ({ idempotencyKey }) => write(idempotencyKey.split("/")[1] ?? "", `undo ${name}`, 0)
            })(0),
            part.fails ? Effect.fail(new Flaky()) : Effect.succeed(3)
          )
        ).pipe(
          Effect.catchTags({ Flaky: () => Effect.succeed(4), RollbackFailed: () => Effect.die("the rollback failed") })
        )
      case "parallel":
        return Effect.map(
          Effect.all([work(`${name}a`, 0, false)(seed), work(`${name}b`, 1, false)(seed)], { concurrency: 2 }),
          ([a, b]) => a + b
        )
      default:
        return work(name, 0, false)(seed)
    }
  }

  return Workflow.make("job", { input: Schema.Number, success: Schema.Number, error: Flaky }, (seed) =>
    Effect.reduce(partsOf(seed), 0, (sum, _, i) => Effect.map(act(seed, i), (value) => sum + value))
  )
}
