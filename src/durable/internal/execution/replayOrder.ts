import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as RuntimeFlags from "effect/RuntimeFlags"
import { isSettled, type Journal, recordedKey } from "../../../journal/Journal.js"
import { decodePatched } from "../../../journal/JournalLine.js"
import { ReplayMismatch } from "../../../journal/RunError.js"
import { nextTurn } from "../../../resilience/internal/kernel/eventLoop.js"
import { askedBy, escapeName, isAskedByStep } from "../../../resilience/Key.js"
import { resting } from "./bodyFibers.js"
import { appendAll, currentRun, type Execution, isReplayOnly, nextEntry, type Run, stop } from "./execution.js"
import * as FiberTree from "./fiberTree.js"
import * as Replay from "./replay.js"

interface Queued {
  readonly seq: number
  readonly resume: () => void
}

/**
 * Recorded results that fibers of a resumed run ask for. Handed out as they are
 * asked for, the fiber that asks first would win a race. So they are handed out
 * one by one in the order of the journal, each with a turn of the event loop for
 * its consequences. An answer is held while an earlier one was not asked for: its
 * branch may be in a plain sleep.
 */
export interface AnswerQueue {
  /** Sorted; the last one is handed out first. */
  readonly queued: Array<Queued>
  isDraining: boolean
  /** The first one is held. The watcher finds out whether a fiber can still ask for the earlier one. */
  isHeld: boolean
}

export const makeAnswerQueue = (): AnswerQueue => ({ queued: [], isDraining: false, isHeld: false })

/**
 * Keeps everything that the journal does not have from beginning until the
 * recorded answers were given. Otherwise a branch that had lost a race could begin
 * a step, or win, before the recorded winner is heard of. `wait/gate.ts` opens it.
 */
export interface Gate {
  isOpen: boolean
  /** The keys whose recorded answer was not given yet, and recoveries whose last line was not performed, with that line. */
  readonly pending: Map<string, number>
  /** What answers are held for, sorted with the first line last. Made when the first fiber has to queue. */
  earlier: Array<readonly [key: string, seq: number]> | undefined
  /** Fibers that wait for the gate to open, in the order they came. */
  readonly waiting: Set<() => void>
  /** Fibers whose step or wait the program had interrupted, by the line that says so. They wait to be interrupted again. */
  readonly interrupted: Map<() => void, number>
}

export const makeGate = ({ recoveries, steps, waits }: Journal): Gate => {
  const pending = new Map<string, number>()
  for (const [key, { lastSeq, status }] of steps) {
    if (status === "completed" || status === "failed") pending.set(key, lastSeq)
  }
  // A step asks its questions again only after the gate has opened.
  for (const [key, { end, lastSeq }] of waits) {
    if (end !== undefined && !isAskedByStep(key)) pending.set(key, lastSeq)
  }
  for (const [key, { decisions, end }] of recoveries) {
    const last = decisions.at(-1)
    // Without a decision nothing of it is performed.
    if (last !== undefined) pending.set(key, end === undefined || end.outcome === "interrupted" ? last.seq : end.seq)
  }
  return { isOpen: pending.size === 0, pending, earlier: undefined, waiting: new Set(), interrupted: new Map() }
}

type Replaying = Pick<Execution, "activity" | "lifecycle" | "replay">

/** The recorded answer at this key was given. */
export const answerGiven = (execution: Replaying, key: string): void => {
  const { activity, replay } = execution
  const { answers, gate } = replay
  if (!gate.pending.delete(key)) return
  if (answers.isHeld) resumeDrain(execution)
  if (gate.pending.size === 0 && gate.waiting.size > 0) activity.changed.notify()
}

/** The program does not ask for the answers of a section: its transaction fails as it did. */
export const skipAnswers = (execution: Replaying, section: string): void => {
  for (const key of [...execution.replay.gate.pending.keys()]) if (key.startsWith(section)) answerGiven(execution, key)
}

/** The line of the first answer that was not given yet, among those that a fiber may still ask for. */
const firstPending = (gate: Gate): number => {
  gate.earlier ??= [...gate.pending].sort(([, a], [, b]) => b - a)
  for (let last = gate.earlier.at(-1); last !== undefined; last = gate.earlier.at(-1)) {
    if (gate.pending.has(last[0])) return last[1]
    gate.earlier.pop()
  }
  return Number.POSITIVE_INFINITY
}

/** No fiber is left to ask for what is earlier than the first answer that is held. */
export const releaseHeld = (execution: Replaying): void => {
  const { answers, gate } = execution.replay
  const first = answers.queued.at(-1)?.seq ?? 0
  while (firstPending(gate) < first) gate.earlier?.pop()
  if (answers.isHeld) resumeDrain(execution)
}

/** From here on answers are given as they are asked for: the body is ending, or keeps an answer away for too long. */
export const stopHolding = (execution: Replaying): void => {
  const { answers, gate } = execution.replay
  gate.earlier = []
  if (answers.isHeld) resumeDrain(execution)
}

const resumeDrain = (execution: Replaying): void => {
  execution.replay.answers.isHeld = false
  nextTurn(() => drain(execution))
}

/**
 * Waits for the turn of a journal line. The turn always comes, so the wait stays
 * uninterruptible where the caller is.
 */
export const awaitAnswerTurn = (execution: Replaying, seq: number, isInterruptible: boolean): Effect.Effect<void> => {
  const { answers } = execution.replay
  const turn = Effect.async<void>((resume) => {
    const queued: Queued = { seq, resume: () => resume(Effect.void) }
    answers.queued.splice(indexFor(answers.queued, seq), 0, queued)
    if (answers.isHeld) resumeDrain(execution)
    else if (!answers.isDraining) {
      answers.isDraining = true
      nextTurn(() => drain(execution))
    }
    return Effect.sync(() => {
      const at = answers.queued.indexOf(queued)
      if (at >= 0) answers.queued.splice(at, 1)
      if (answers.isHeld) resumeDrain(execution)
    })
  }, resting)
  return isInterruptible ? Effect.interruptible(turn) : turn
}

/** Where a line belongs in an array that is sorted with the highest line first. */
const indexFor = (queued: ReadonlyArray<Queued>, seq: number): number => {
  let low = 0
  let high = queued.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((queued[middle] as Queued).seq > seq) low = middle + 1
    else high = middle
  }
  return low
}

const drain = (execution: Replaying): void => {
  const { activity, lifecycle, replay } = execution
  const { answers, gate } = replay
  const first = answers.queued.at(-1)
  if (first === undefined) {
    answers.isDraining = false
    activity.changed.notify()
    return
  }
  const isHolding = !gate.isOpen && !activity.isOver && lifecycle.phase._tag === "Running"
  if (isHolding && firstPending(gate) < first.seq) {
    answers.isHeld = true
    activity.startWatcher()
    activity.changed.notify()
    return
  }
  answers.queued.pop()
  first.resume()
  nextTurn(() => drain(execution))
}

/**
 * The recorded steps and waits of the body's own fiber. Their order is the same
 * in every execution, so a program that diverges from its journal is detected.
 * The order of other fibers' steps can differ.
 */
export interface Order {
  readonly keys: ReadonlyArray<string>
  /** The index of the first key that may still be unreached. */
  next: number
  /** Every key this execution has reached, in whichever fiber. */
  readonly reached: Set<string>
  /** The first journal line at which a step or wait of another fiber began. */
  readonly firstOfOthers: number
}

export const orderOf = (journal: Journal): Order => {
  if (journal.lastSeq === 0) return { keys: [], next: 0, reached: new Set(), firstOfOthers: Number.POSITIVE_INFINITY }
  const all = [...journal.steps.entries(), ...journal.waits.entries()]
  const steps = [...journal.steps.values()].filter((step) => !isSettled(step))
  const waits = [...journal.waits.values()].filter(
    ({ end, interruptedAt }) => end === undefined && interruptedAt === undefined
  )
  // An open step may end in another way than before, so nothing recorded after it is certain.
  const last = Math.min(...[...steps, ...waits].map(({ order }) => order))
  const keys = all
    .filter(([, { order, root }]) => root === true && order > journal.restartedAt && order <= last)
    .filter(([key]) => !isRolledBack(journal, key))
    .sort(([, a], [, b]) => a.order - b.order)
    .map(([key]) => key)
  const firstOfOthers = Math.min(...all.filter(([, { root }]) => root !== true).map(([, { order }]) => order))
  return { keys, next: 0, reached: new Set(), firstOfOthers }
}

/** A transaction that was rolled back may fail again without reaching all of its steps. */
const isRolledBack = ({ rollbacks }: Journal, key: string): boolean => {
  for (const section of rollbacks.keys()) if (key.startsWith(section)) return true
  return false
}

/**
 * Whether a fiber is the body's own and runs the body itself. Where it cannot
 * be interrupted it may run a finalizer, which a later execution may skip.
 */
export const isRoot = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  flags: RuntimeFlags.RuntimeFlags,
  { lifecycle }: Pick<Execution, "lifecycle">
): boolean => {
  const branch = fiber.getFiberRef(FiberTree.current)
  const isOwn = branch !== undefined && branch.parent === undefined
  return isOwn && RuntimeFlags.interruptible(flags) && !lifecycle.isClosing
}

/** A rollback or a rewind replays a part of the body and reports itself which keys it does not reach. */
const isChecked = (execution: Execution, key: string): boolean =>
  execution.mode.isReplay || !isReplayOnly(execution, key)

interface Replayed {
  readonly id: string
  readonly replay: Pick<Execution["replay"], "order">
  readonly journal: Journal
}

/** The next recorded key that was not reached. A transaction that restarts has removed its keys from the journal. */
const next = ({ journal, replay: { order } }: Replayed): string | undefined => {
  while (order.next < order.keys.length) {
    const key = order.keys[order.next] as string
    if (!order.reached.has(key) && (journal.steps.has(key) || journal.waits.has(key))) return key
    order.next++
  }
  return undefined
}

/** From here on the program may diverge from its journal without an error. */
export const acceptDivergence = ({ replay: { order } }: Pick<Execution, "replay">): void => {
  order.next = order.keys.length
}

/**
 * Checks a step or wait that the program has reached. Only a step that would
 * begin in the body's own fiber, where the journal has another one, is refused:
 * an answer does no harm, and a skipped key is reported at the end of the body.
 * A replay that executes nothing refuses at once.
 */
export const check = (
  execution: Execution,
  key: string,
  { isAnswered, isRoot }: { readonly isAnswered: boolean; readonly isRoot: boolean }
): ReplayMismatch | undefined => {
  const { id, journal, mode, replay } = execution
  // A new run has no history.
  if (journal.lastSeq === 0) return undefined
  const isNext = !replay.order.reached.has(key) && next(execution) === key
  replay.order.reached.add(key)
  if (isNext) return undefined
  if (!isRoot || (isAnswered && !mode.isReplay) || !isChecked(execution, key)) return undefined
  if (isRolledBack(journal, key)) return undefined
  const recorded = next(execution)
  if (recorded === undefined) return undefined
  const isKnown = journal.steps.has(key) || journal.waits.has(key)
  return new ReplayMismatch({ run: id, reason: isKnown ? "Missing" : "Unexpected", recorded, found: key })
}

/** The mismatch of a body that has ended without reaching a recorded key. */
export const missingAtEnd = (execution: Replayed): ReplayMismatch | undefined => {
  const recorded = next(execution)
  return recorded === undefined
    ? undefined
    : new ReplayMismatch({ run: execution.id, reason: "Missing", recorded, found: "the end of the workflow" })
}

/**
 * Whether the journal has keys that this execution has not reached: then code
 * of an earlier version wrote what comes next. Steps of a rolled-back
 * transaction count until the transaction was reached.
 */
const isBehindJournal = ({ journal, replay: { order } }: Execution): boolean => {
  const { reached } = order
  const passed = [...journal.rollbacks.keys()].filter((section) => reached.has(section))
  // A step that is answered does not ask its question again.
  const isReached = (key: string) => reached.has(key) || reached.has(askedBy(key) ?? "")
  return [...journal.steps.keys(), ...journal.waits.keys()].some(
    (key) => !isReached(key) && !passed.some((section) => key.startsWith(section))
  )
}

/** Waits until the recorded result of line `seq` may be returned, so that races are won by the same branch as before. */
export const awaitReplayTurn = (
  execution: Replaying,
  key: string,
  seq: number,
  { isInterruptible, isRoot }: { readonly isInterruptible: boolean; readonly isRoot: boolean }
): Effect.Effect<void> => {
  const { replay } = execution
  const covering = Replay.covering(replay.active, key)
  const registered = covering === undefined ? Effect.void : Replay.awaitTurn(replay.active, key, seq)
  const isOrdered = (isRoot && replay.order.firstOfOthers >= seq) || covering?.isNatural === false
  const turn = isOrdered ? registered : Effect.zipRight(registered, awaitAnswerTurn(execution, seq, isInterruptible))
  // A fiber that was interrupted does not ask again.
  return replay.gate.isOpen
    ? turn
    : Effect.ensuring(
        turn,
        Effect.sync(() => answerGiven(execution, key))
      )
}

/** Decides once per run whether it takes changed code, and records the decision. */
export const patched = (name: string): Effect.Effect<boolean, never, Run> =>
  Effect.flatMap(currentRun, ({ execution, section }) =>
    Effect.uninterruptible(
      Effect.suspend(() => {
        const { journal, lifecycle } = execution
        if (lifecycle.stopError !== undefined) return stop(execution, lifecycle.stopError)
        const key = `patch/${escapeName(name)}`
        const place = recordedKey({ kind: "Patched", step: key })
        const known = journal.recorded.get(place)
        if (known !== undefined) return Effect.succeed(decodePatched(known))
        const isNew = !isBehindJournal(execution)
        if (isReplayOnly(execution, section)) return Effect.succeed(isNew)
        const entry = nextEntry(execution, "Patched", key, 0, String(isNew))
        journal.recorded.set(place, entry)
        return Effect.as(appendAll(execution, [entry]), isNew)
      })
    )
  )
