import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"

/**
 * A fiber's place among the fibers of its run. Occurrences of a step name are
 * counted in the order of their use, so two uses are only told apart at every
 * resume if their order is certain: by being in one fiber, or by forks and
 * joins between them. Two branches that merely happened to come one after the
 * other may come the other way round next time.
 */
export interface Branch {
  readonly parent: Moment | undefined
  joined: Moment | undefined
  /** Counts the forks and joins this branch has seen. */
  time: number
}

interface Moment {
  readonly branch: Branch
  readonly at: number
}

/** A use of a step name. */
export interface Use extends Moment {
  /** Who was interrupted joins nobody: the loser of a timeout, say, before its next attempt. */
  interrupted: boolean
}

export const makeRoot = (): Branch => ({ parent: undefined, joined: undefined, time: 0 })

const fork = (branch: Branch | undefined): Branch | undefined =>
  branch && { parent: { branch, at: ++branch.time }, joined: undefined, time: 0 }

const join = (into: Branch | undefined, branch: Branch | undefined): Branch | undefined => {
  if (into !== undefined && branch !== undefined && into !== branch) branch.joined = { branch: into, at: into.time++ }
  return into
}

/** Undefined outside of runs, where it costs nothing. */
export const current: FiberRef.FiberRef<Branch | undefined> = globalValue("effect-recovery/Branch", () =>
  FiberRef.unsafeMake<Branch | undefined>(undefined, { fork, join })
)

/** Whether a use is certain to come before the present of a branch. */
export const isBefore = (use: Use, present: Branch): boolean => {
  let moment: Moment | undefined = use
  while (moment !== undefined) {
    if (isInPast(moment, present)) return true
    moment = moment.branch.joined
  }
  return use.interrupted
}

const isInPast = (moment: Moment, present: Branch): boolean => {
  let branch: Branch | undefined = present
  let before = Number.POSITIVE_INFINITY
  while (branch !== undefined) {
    if (branch === moment.branch) return moment.at < before
    before = branch.parent?.at ?? 0
    branch = branch.parent?.branch
  }
  return false
}
