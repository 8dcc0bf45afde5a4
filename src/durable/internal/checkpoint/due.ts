import * as Duration from "effect/Duration"
import type { Due, Info } from "../../Checkpoint.js"

const quarters: ReadonlyArray<number> = [0.25, 0.5, 0.75, 1]

/** Kept with the checkpoint, so that the next one knows which milestones were passed since. */
export const progressKey = "progress"

/** Whether a milestone lies between where the last checkpoint was and here. */
const passes = (last: Info | undefined, progress: number, milestones: ReadonlyArray<number>): boolean => {
  if (progress < 0 || progress > 1) {
    throw new RangeError(`saveIfDue: progress is a share from 0 to 1, not ${progress}`)
  }
  const recorded = last?.metadata[progressKey]
  // Whoever is behind the last checkpoint has begun anew.
  const from = typeof recorded === "number" && recorded <= progress ? recorded : 0
  return milestones.some((milestone) => from < milestone && milestone <= progress)
}

export const isDue = (
  last: Info | undefined,
  now: number,
  { interval = "5 minutes", milestones = quarters, ...due }: Due
): boolean => {
  const isLate = last === undefined || now - last.at.getTime() >= Duration.toMillis(interval)
  return due.progress === undefined ? isLate : passes(last, due.progress, milestones)
}
