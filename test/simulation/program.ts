import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Signal, Step, Workflow } from "effect-recovery"

/** One thing that the body of a simulated run does. Times are in milliseconds. */
const Operation = Schema.Union(
  Schema.Struct({ kind: Schema.Literal("step", "sleep"), millis: Schema.Number }),
  /** Fails so many times, and is retried. */
  Schema.Struct({ kind: Schema.Literal("retry"), millis: Schema.Number, fails: Schema.Number }),
  Schema.Struct({ kind: Schema.Literal("signal") }),
  Schema.Struct({ kind: Schema.Literal("child"), millis: Schema.Number })
)
export type Operation = typeof Operation.Type

export const Plan = Schema.Array(Operation)
export type Plan = typeof Plan.Type

const Input = Schema.Struct({ id: Schema.String, plan: Plan })

export const Go = Signal.make("go", Schema.Number)

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

/** What the world outside of the runs hears of them. */
export interface World {
  /** An execution has come to an operation that waits for a signal. */
  readonly reached: (run: string, operation: number) => void
}

/** The result of a run: each of its operations adds its number. */
export const resultOf = (plan: Plan): number => plan.reduce((sum, _, i) => sum + i + 1, 0)

/** The workflows of a version of the program. */
export const workflowsOf = (version: string, world: World) => {
  const work = (number: number, millis: number, fails = 0) =>
    Step.make(`step-${number}`, {
      success: Schema.Number,
      error: Refused,
      run: (_: undefined, attempt: Step.Attempt) =>
        Effect.zipRight(
          Effect.sleep(millis),
          Effect.suspend(() => (attempt.number <= fails ? Effect.fail(new Refused()) : Effect.succeed(number)))
        ),
      retry: Schedule.intersect(Schedule.spaced("700 millis"), Schedule.recurs(50))
    })(undefined)
  const Child = Workflow.make("child", { version, input: Schema.Number, success: Schema.Number }, (millis) =>
    Effect.orDie(Effect.zipRight(Workflow.sleep(millis), work(1, 5)))
  )
  const Flow = Workflow.make("flow", { version, input: Input, success: Schema.Number }, ({ id, plan }) =>
    Effect.gen(function* () {
      let sum = 0
      for (const [i, operation] of plan.entries()) {
        const number = i + 1
        sum += number
        switch (operation.kind) {
          case "step":
            yield* work(number, operation.millis)
            break
          case "retry":
            yield* work(number, operation.millis, operation.fails)
            break
          case "sleep":
            yield* Workflow.sleep(operation.millis, { name: `sleep-${number}` })
            break
          case "signal":
            world.reached(id, number)
            yield* Go.wait({ id: String(number) })
            break
          case "child":
            yield* Workflow.execute(Child, { id: `child-${number}`, input: operation.millis })
            break
        }
      }
      return sum
    }).pipe(Effect.orDie)
  )
  return { Child, Flow }
}
