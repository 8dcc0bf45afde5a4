import type * as Fiber from "effect/Fiber"
import * as RuntimeFlags from "effect/RuntimeFlags"
import { ReplayMismatch } from "../../RunError.js"
import type { Journal } from "../journal/journal.js"
import type { LiveRun } from "./execution.js"
import * as Branch from "./fiberTree.js"

/**
 * The steps and waits of the body's own fiber, in their order. What other
 * fibers use comes in an order of their own; this one is certain, so a program
 * that takes another way than its journal is found out.
 */
export interface Order {
  readonly keys: ReadonlyArray<string>
  /** Those before this one are done with. */
  next: number
  /** All that this execution has come by, whichever fiber did. */
  readonly met: Set<string>
  /** The first line at which anything of another fiber ended. */
  readonly beside: number
}

export const orderOf = (journal: Journal): Order => {
  if (journal.lastSeq === 0) return { keys: [], next: 0, met: new Set(), beside: Number.POSITIVE_INFINITY }
  // What was rolled back may be passed by: its transaction answers for it.
  const sections = [...journal.rollbacks.keys()]
  const all = [...journal.steps.entries(), ...journal.waits.entries()]
  const steps = [...journal.steps.values()].filter(({ status }) => status !== "completed" && status !== "failed")
  const waits = [...journal.waits.values()].filter(({ end }) => end === undefined)
  // What is still open may end otherwise than before, and nothing after it is certain.
  const last = Math.min(...[...steps, ...waits].map(({ order }) => order))
  const keys = all
    .filter(([key, { order, root }]) => root === true && order <= last && !sections.some((one) => key.startsWith(one)))
    .sort(([, a], [, b]) => a.order - b.order)
    .map(([key]) => key)
  const beside = Math.min(...all.filter(([, { root }]) => root !== true).map(([, { lastSeq }]) => lastSeq))
  return { keys, next: 0, met: new Set(), beside }
}

/**
 * Whether a fiber is the body's own, on its way through the body. Where nothing
 * can interrupt it may be in a finalizer, which a later execution need not come by.
 */
export const isRoot = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  flags: RuntimeFlags.RuntimeFlags,
  live: Pick<LiveRun, "interrupted">
): boolean => {
  const branch = fiber.getFiberRef(Branch.current)
  const isOwn = branch !== undefined && branch.parent === undefined
  return isOwn && RuntimeFlags.interruptible(flags) && !live.interrupted
}

/** A rollback or a rewind replays a part of the body, and names itself what it does not come by. */
const isChecked = ({ how, replays, rewinding }: LiveRun): boolean => how.isReplay || (replays.size === 0 && !rewinding)

interface Replayed {
  readonly id: string
  readonly order: Order
  readonly journal: Journal
}

/** The next one in the journal that was not met; a transaction that begins anew has forgotten its own. */
const next = ({ journal, order }: Replayed): string | undefined => {
  while (order.next < order.keys.length) {
    const key = order.keys[order.next] as string
    if (!order.met.has(key) && (journal.steps.has(key) || journal.waits.has(key))) return key
    order.next++
  }
  return undefined
}

/** From here on the program may take another way than its journal, for good reasons. */
export const giveUp = ({ order }: Pick<LiveRun, "order">): void => {
  order.next = order.keys.length
}

/**
 * The program has come to a step or a wait. Only what would be begun by its own
 * fiber, while the journal has something else there, is refused: an answer does
 * no harm, and what was passed by is found out in the end. Where nothing is
 * executed at all it is refused at once.
 */
export const meet = (
  live: LiveRun,
  key: string,
  { isAnswered, isRoot }: { readonly isAnswered: boolean; readonly isRoot: boolean }
): ReplayMismatch | undefined => {
  // A new run has nothing to fit.
  if (live.journal.lastSeq === 0) return undefined
  const isFirst = !live.order.met.has(key) && next(live) === key
  live.order.met.add(key)
  if (isFirst) return undefined
  if (!isRoot || (isAnswered && !live.how.isReplay) || !isChecked(live)) return undefined
  const recorded = next(live)
  if (recorded === undefined) return undefined
  const isKnown = live.journal.steps.has(key) || live.journal.waits.has(key)
  return new ReplayMismatch({ run: live.id, reason: isKnown ? "Missing" : "Unexpected", recorded, found: key })
}

/** The program has ended: did it pass something by? */
export const unmetAtEnd = (live: Replayed): ReplayMismatch | undefined => {
  const recorded = next(live)
  return recorded === undefined
    ? undefined
    : new ReplayMismatch({ run: live.id, reason: "Missing", recorded, found: "the end of the workflow" })
}

/**
 * Whether an earlier execution has been further than this one: then it was the
 * code of then that did what comes now. What was rolled back counts until its
 * transaction was met.
 */
export const isBehind = ({ journal, order: { met } }: LiveRun): boolean => {
  const passed = [...journal.rollbacks.keys()].filter((section) => met.has(section))
  // A step that is answered does not ask again.
  const isMet = (key: string) => met.has(key) || met.has(key.slice(0, key.lastIndexOf("?")))
  return [...journal.steps.keys(), ...journal.waits.keys()].some(
    (key) => !isMet(key) && !passed.some((section) => key.startsWith(section))
  )
}

/** Whether an answer of this line is to wait for its turn: other fibers had come to something by then. */
export const waitsForOthers = ({ order }: Pick<LiveRun, "order">, isRoot: boolean, seq: number): boolean =>
  !isRoot || order.beside < seq
