/**
 * Child runs: `Workflow.execute`, `Workflow.start` and `Workflow.join` in the body of a
 * workflow.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { checkName } from "../resilience/InvalidName.js"
import { childIdIn } from "./internal/child/child.js"
import { currentRun, type Run } from "./internal/execution/execution.js"

/**
 * The id of the child run with this name, for what is outside of the parent: to signal the child, to
 * show it, to cancel it. It is the id of the parent, a slash, and the name with the sections
 * around this point.
 *
 * A rewind to a point before the child's start makes the name another run, whose id ends in
 * `~2`; in the next generation of the parent it ends in `[2]`.
 *
 * @example
 * ```ts
 * import { Step, Workflow } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * declare const Review: Workflow.Workflow<void, void, never, never>
 * const tell = Step.make("tell", { run: (run: string) => Effect.log(`to be reviewed: ${run}`) })
 *
 * export const Paper = Workflow.make("paper", { success: Schema.Void }, () =>
 *   Effect.gen(function* () {
 *     yield* Workflow.start(Review, { id: "review" })
 *     yield* tell(yield* Workflow.childId("review"))
 *     yield* Workflow.join(Review, "review")
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category children
 */
export const childId = (name: string): Effect.Effect<string, never, Run> =>
  Effect.map(currentRun, (run) => childIdIn(run, checkName("run", name)))
