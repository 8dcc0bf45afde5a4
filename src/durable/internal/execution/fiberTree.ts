import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"

/**
 * A fiber's place among the fibers of its run. Uses of a step name are numbered
 * in their order, so two uses may follow one another only if they do so in every
 * execution: in one fiber, before a fork, or after the fiber of the first has
 * ended. Two branches that ran side by side can change places next time.
 */
export interface Branch {
  readonly root: Root
  readonly parent: Branch | undefined
  readonly forkedAt: number
  endedAt: number | undefined
  isObserved: boolean
  /** The step or compensation this fiber runs now. */
  step: string | undefined
}

/** Numbers forks, uses and ends in the order they happen. */
interface Root {
  tick: number
}

/** One use of a step name. */
export interface Use {
  readonly branch: Branch
  readonly at: number
}

const make = (root: Root, parent: Branch | undefined): Branch => ({
  root,
  parent,
  forkedAt: ++root.tick,
  endedAt: undefined,
  isObserved: false,
  step: parent?.step
})

export const makeRoot = (): Branch => make({ tick: 0 }, undefined)

/** Undefined outside of runs, where a fork then costs nothing. */
export const current: FiberRef.FiberRef<Branch | undefined> = globalValue("effect-recovery/Branch", () =>
  FiberRef.unsafeMake<Branch | undefined>(undefined, {
    fork: (branch) => branch && make(branch.root, branch),
    join: (into) => into
  })
)

/** Fibers that were started from outside with the run's context, so they have no parent in the tree. */
const detached = new WeakMap<object, Branch>()

const branchOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>, last: Use | undefined): Branch => {
  const known = fiber.getFiberRef(current) ?? detached.get(fiber)
  if (known !== undefined) return known
  const branch = make(last?.branch.root ?? { tick: 0 }, undefined)
  detached.set(fiber, branch)
  return branch
}

/** Sets the step a fiber runs; the returned function sets the previous one again. */
export const enterStep = (fiber: Fiber.RuntimeFiber<unknown, unknown>, step: string): (() => void) => {
  const branch = branchOf(fiber, undefined)
  const before = branch.step
  branch.step = step
  return () => {
    branch.step = before
  }
}

/** The step or compensation a fiber runs, if any. */
export const stepOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): string | undefined =>
  (fiber.getFiberRef(current) ?? detached.get(fiber))?.step

/** Numbers a use that this fiber makes now. `last` is the previous use of the same name. */
export const recordUse = (fiber: Fiber.RuntimeFiber<unknown, unknown>, last: Use | undefined): Use => {
  const branch = branchOf(fiber, last)
  if (!branch.isObserved) {
    branch.isObserved = true
    fiber.addObserver(() => {
      branch.endedAt = ++branch.root.tick
    })
  }
  return { branch, at: ++branch.root.tick }
}

/** Now, in the time of this fiber's tree. Undefined outside of runs. */
export const mark = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Use | undefined => {
  const branch = fiber.getFiberRef(current)
  return branch && { branch, at: branch.root.tick }
}

/** Whether a fiber was forked after a mark, by the fiber of the mark or by one that was forked after it. */
export const isForkedAfter = (fiber: Fiber.RuntimeFiber<unknown, unknown>, { at, branch }: Use): boolean => {
  const { childOfTo, isFound } = ascend(fiber.getFiberRef(current), branch)
  return isFound && childOfTo !== undefined && childOfTo.forkedAt > at
}

/** Whether the first use comes before the second in every execution. */
export const isBefore = (first: Use, second: Use): boolean => {
  const { childOfTo, isFound } = ascend(second.branch, first.branch)
  // The same fiber, or an ancestor before it forked the way to the second.
  if (isFound) return childOfTo === undefined || first.at < childOfTo.forkedAt
  const endedAt = first.branch.endedAt
  if (endedAt === undefined) return false
  const common = commonAncestor(first.branch, second.branch)
  // A descendant that has ended, or a sibling that had ended before the second's way was forked.
  return common === second.branch || endedAt < (ascend(second.branch, common).childOfTo ?? second.branch).forkedAt
}

/** Walks up from a branch to an ancestor. `childOfTo` is the last branch on the way before it. */
const ascend = (
  from: Branch | undefined,
  to: Branch | undefined
): { readonly isFound: boolean; readonly childOfTo: Branch | undefined } => {
  let childOfTo: Branch | undefined
  let branch: Branch | undefined = from
  while (branch !== undefined && branch !== to) {
    childOfTo = branch
    branch = branch.parent
  }
  return { isFound: branch !== undefined, childOfTo }
}

/** Whether a fiber is the other one, or one of those that forked it. */
export const isSameOrAncestor = (branch: Branch | undefined, of: Branch | undefined): boolean =>
  branch !== undefined && of !== undefined && ascend(of, branch).isFound

const commonAncestor = (a: Branch, b: Branch): Branch | undefined => {
  let branch: Branch | undefined = a
  while (branch !== undefined && !ascend(b, branch).isFound) branch = branch.parent
  return branch
}
