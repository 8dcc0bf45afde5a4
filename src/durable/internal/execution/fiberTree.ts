import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"

/**
 * A fiber's place among the fibers of its run. Uses of a step name are counted
 * in their order, so two uses may only follow one another if they do so in
 * every execution: in one fiber, before a fork, or after the fiber of the first
 * has ended. Two branches that ran side by side and merely happened to come one
 * after the other may come the other way round next time.
 */
export interface Branch {
  readonly root: Root
  readonly parent: Branch | undefined
  readonly forkedAt: number
  endedAt: number | undefined
  watched: boolean
  /** The step, or the compensation, this fiber works for at the moment. */
  step: string | undefined
}

/** Counts forks, uses and ends, in the order they happen. */
interface Root {
  tick: number
}

/** A use of a step name. */
export interface Use {
  readonly branch: Branch
  readonly at: number
}

const make = (root: Root, parent: Branch | undefined): Branch => ({
  root,
  parent,
  forkedAt: ++root.tick,
  endedAt: undefined,
  watched: false,
  step: parent?.step
})

export const makeRoot = (): Branch => make({ tick: 0 }, undefined)

/** Undefined outside of runs, where it costs nothing. */
export const current: FiberRef.FiberRef<Branch | undefined> = globalValue("effect-recovery/Branch", () =>
  FiberRef.unsafeMake<Branch | undefined>(undefined, {
    fork: (branch) => branch && make(branch.root, branch),
    join: (into) => into
  })
)

/** A fiber that was started from outside, with the run's context but none of its fibers above it. */
const strangers = new WeakMap<object, Branch>()

const branchOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>, last: Use | undefined): Branch => {
  const known = fiber.getFiberRef(current) ?? strangers.get(fiber)
  if (known !== undefined) return known
  const stranger = make(last?.branch.root ?? { tick: 0 }, undefined)
  strangers.set(fiber, stranger)
  return stranger
}

/** Says what a fiber works for from now on, and answers with how to take it back. */
export const working = (fiber: Fiber.RuntimeFiber<unknown, unknown>, step: string): (() => void) => {
  const branch = branchOf(fiber, undefined)
  const before = branch.step
  branch.step = step
  return () => {
    branch.step = before
  }
}

/** The step or compensation a fiber works for, if it is inside of one. */
export const stepOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): string | undefined =>
  (fiber.getFiberRef(current) ?? strangers.get(fiber))?.step

/** The use a fiber makes now; `last` is the one before it, of the same name. */
export const use = (fiber: Fiber.RuntimeFiber<unknown, unknown>, last: Use | undefined): Use => {
  const branch = branchOf(fiber, last)
  if (!branch.watched) {
    branch.watched = true
    fiber.addObserver(() => {
      branch.endedAt = ++branch.root.tick
    })
  }
  return { branch, at: ++branch.root.tick }
}

/** Whether a use is certain to come before another. */
export const isBefore = (first: Use, second: Use): boolean => {
  const { below, found } = descend(second.branch, first.branch)
  // In the same fiber, or in one above it: before it was forked.
  if (found) return below === undefined || first.at < below.forkedAt
  const endedAt = first.branch.endedAt
  if (endedAt === undefined) return false
  const common = nearest(first.branch, second.branch)
  // In a fiber below, which has ended; or in one beside, which had ended before this one was forked.
  return common === second.branch || endedAt < (descend(second.branch, common).below ?? second.branch).forkedAt
}

/** Goes up from a branch to one above it; `below` is the last one before it on the way. */
const descend = (
  from: Branch,
  to: Branch | undefined
): { readonly found: boolean; readonly below: Branch | undefined } => {
  let below: Branch | undefined
  let branch: Branch | undefined = from
  while (branch !== undefined && branch !== to) {
    below = branch
    branch = branch.parent
  }
  return { found: branch !== undefined, below }
}

const nearest = (a: Branch, b: Branch): Branch | undefined => {
  let branch: Branch | undefined = a
  while (branch !== undefined && !descend(b, branch).found) branch = branch.parent
  return branch
}
