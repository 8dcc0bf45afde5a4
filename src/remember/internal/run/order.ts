import type * as Fiber from "effect/Fiber"
import { ReplayMismatch } from "../../RunError.js"
import type { Journal } from "../journal/journal.js"
import * as Branch from "./branch.js"
import type { LiveRun } from "./liveRun.js"

/**
 * The steps and waits of the body's own fiber, in their order. What other
 * fibers use comes in an order of their own; this one is certain, so a program
 * that takes another way than its journal is found out.
 */
export interface Order {
  readonly keys: ReadonlyArray<string>
  /** How many of them were met. */
  met: number
}

export const orderOf = (journal: Journal): Order => {
  // What was rolled back may be passed by: its transaction answers for it.
  const sections = [...journal.rollbacks.keys()]
  const keys = [...journal.steps.entries(), ...journal.waits.entries()]
    .filter(([key, { root }]) => root === true && !sections.some((section) => key.startsWith(section)))
    .sort(([, a], [, b]) => a.order - b.order)
    .map(([key]) => key)
  return { keys, met: 0 }
}

/** Whether a fiber is the body's own, on its way through the body. */
export const isRoot = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean => {
  const branch = fiber.getFiberRef(Branch.current)
  return branch !== undefined && branch.parent === undefined
}

/** A rollback or a rewind replays a part of the body, and names itself what it does not come by. */
export const isChecked = ({ how, replays, rewinding }: LiveRun): boolean =>
  how.isReplay || (replays.size === 0 && !rewinding)

interface Replayed {
  readonly id: string
  readonly order: Order
  readonly journal: Journal
}

/** The next one in the journal that was not met; a transaction that begins anew has forgotten its own. */
const next = ({ journal, order }: Replayed): string | undefined => {
  while (order.met < order.keys.length) {
    const key = order.keys[order.met] as string
    if (journal.steps.has(key) || journal.waits.has(key)) return key
    order.met++
  }
  return undefined
}

/** The program has come to a step or a wait of its own fiber: is it the one the journal has here? */
export const meet = (live: Replayed, key: string, isKnown: boolean): ReplayMismatch | undefined => {
  const recorded = next(live)
  if (recorded === undefined) return undefined
  if (recorded === key) {
    live.order.met++
    return undefined
  }
  // Known, but of another fiber when it was written; or met before.
  if (isKnown && !live.order.keys.includes(key, live.order.met)) return undefined
  return new ReplayMismatch({ run: live.id, reason: isKnown ? "Missing" : "Unexpected", recorded, found: key })
}

/** The program has ended: did it pass something by? */
export const unmetAtEnd = (live: Replayed): ReplayMismatch | undefined => {
  const recorded = next(live)
  return recorded === undefined
    ? undefined
    : new ReplayMismatch({ run: live.id, reason: "Missing", recorded, found: "the end of the workflow" })
}

/** Whether the journal goes on from here: the program is only repeating what an earlier execution did. */
export const isBehind = (live: Replayed, fiber: Fiber.RuntimeFiber<unknown, unknown>, section: string): boolean => {
  if (isRoot(fiber)) return next(live) !== undefined
  const isOpen = (key: string) => key.startsWith(section)
  return [...live.journal.steps.keys(), ...live.journal.waits.keys()].some(isOpen)
}
