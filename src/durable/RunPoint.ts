/**
 * The points a run can be rewound to or forked at.
 *
 * @since 0.1.0
 */
import type { Point } from "../resilience/Decision.js"
import type * as Strategy from "../resilience/Strategy.js"

/**
 * The start of the run, as a point to rewind to or to fork at.
 *
 * @since 0.1.0
 * @category points
 */
export const fromStart: Point = { _tag: "Start" }

/**
 * The point just before the latest use of a step, by its key or its name.
 *
 * @since 0.1.0
 * @category points
 */
export const beforeStep = (step: Strategy.Named): Point => ({
  _tag: "Step",
  step: typeof step === "string" ? step : step.name
})

/**
 * The point just after the newest checkpoint, or the newest one of this name.
 *
 * @since 0.1.0
 * @category points
 */
export const afterCheckpoint = (checkpoint?: Strategy.Named): Point => ({
  _tag: "Checkpoint",
  name: typeof checkpoint === "object" ? checkpoint.name : checkpoint
})

/**
 * The point just after the checkpoint with this id.
 *
 * @since 0.1.0
 * @category points
 */
export const atCheckpoint = (id: string): Point => ({ _tag: "Checkpoint", id })
