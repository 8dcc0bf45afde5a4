import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RecoveryRecord } from "../../../journal/Journal.js"
import { encodeDecided, encodeEnded } from "../../../journal/JournalLine.js"
import type { Outcome } from "../../../resilience/Events.js"
import type * as Fault from "../../../resilience/Fault.js"
import { faultOf, recordOf } from "../../../resilience/FaultRecord.js"
import type { DecisionsService, RecoveryJournal } from "../../../resilience/internal/kernel/runServices.js"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import * as Strategy from "../../../resilience/Strategy.js"
import { isBrief } from "../execution/control.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import { originOf } from "../execution/origins.js"
import * as Replay from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import { awaitGate } from "../wait/gate.js"
import { finiteTime, parkedOf } from "../wait/resolve.js"
import { park } from "../wait/wait.js"

type Failed = Parameters<DecisionsService["open"]>[0]

/**
 * The decisions of recoveries in the body are decisions of the run: each is a line
 * of its journal before it is performed, and a resume performs the recorded ones
 * without waiting and without reporting them again.
 */
export const makeDecisions = (execution: Execution.Execution): DecisionsService => ({
  open: (failed) =>
    Effect.withFiberRuntime((fiber, { runtimeFlags }) => {
      // A step records the retries of its own plan, and its attempt as a whole.
      if (FiberTree.stepOf(fiber) !== undefined) return Effect.succeed(undefined)
      const { stopError } = execution.lifecycle
      if (stopError !== undefined) return Execution.stop(execution, stopError)
      const run = Execution.runOf(fiber.currentContext)
      const isRoot = Order.isRoot(fiber, runtimeFlags, execution)
      return Effect.sync(() => openJournal(run, failed, isRoot))
    })
})

/** What a recovery was about: its name and the failure, without numbers, ids and paths. */
const fits = (record: RecoveryRecord, { fault, name }: Failed): boolean => {
  const [first] = record.decisions
  return first !== undefined && first.recovery === name && isSame(first.fault, fault)
}

const isSame = (recorded: RecoveryRecord["decisions"][number]["fault"], fault: Fault.Fault): boolean =>
  recorded.fingerprint === fault.fingerprint && recorded.tag === Option.getOrUndefined(fault.tag)

/**
 * The key of a recovery is that of the step or transaction that failed, else its
 * section, and a number. Recoveries from failures of one kind in one section
 * follow each other in the order of the journal.
 */
const claim = ({ execution, section }: Execution.RunService, failed: Failed) => {
  const origin = originOf(execution, failed.error)
  const base = `${origin?.key ?? section}!`
  const keys = execution.keys.recoveries.get(base) ?? recordedKeys(execution, base)
  execution.keys.recoveries.set(base, keys)
  const fitting = keys.unclaimed.filter((record) => fits(record, failed))
  // Equal failures of parallel fibers may differ in their numbers alone.
  const record = fitting.find(({ decisions: [first] }) => first?.fault.message === failed.fault.message) ?? fitting[0]
  if (record !== undefined) keys.unclaimed.splice(keys.unclaimed.indexOf(record), 1)
  return { key: record?.key ?? `${base}${++keys.last}`, record, step: origin?.step }
}

const recordedKeys = ({ journal }: Execution.Execution, base: string): Execution.RecoveryKeys => {
  const unclaimed: Array<RecoveryRecord> = []
  for (;;) {
    const record = journal.recoveries.get(`${base}${unclaimed.length + 1}`)
    if (record === undefined) return { last: unclaimed.length, unclaimed }
    unclaimed.push(record)
  }
}

const openJournal = (run: Execution.RunService, failed: Failed, isRoot: boolean): RecoveryJournal => {
  const { execution } = run
  const { lifecycle } = execution
  const { key, record, step } = claim(run, failed)
  let recorded = record?.decisions ?? []
  let end = record?.end
  /** How many decisions were made so far, in this execution or an earlier one. */
  let made = 0
  const next = () => recorded[made]
  const diverge = () => {
    recorded = recorded.slice(0, made)
    end = undefined
    Order.answerGiven(execution, key)
  }
  /** Only the last line of the record is the answer that new work waits for. */
  const turn = (seq: number, isLast: boolean, isInterruptible: boolean) =>
    Order.awaitReplayTurn(execution, isLast ? key : `${key}?`, seq, { isInterruptible, isRoot })
  const isEndAnswer = () => end !== undefined && end.outcome !== "interrupted"
  /** A body that stops records nothing more, and receives nothing: the recovery continues when the run is resumed. */
  const isRecording = () => lifecycle.phase._tag === "Running"
  return {
    source: { recovery: failed.name, run: execution.id, step },
    clock: execution.clock,
    recorded: (attempt, fault) => {
      const found = next()
      if (found === undefined || found.attempt !== attempt || !isSame(found.fault, fault)) return undefined
      return { ...found, fault: faultOf(failed.error, found.fault) }
    },
    take: Effect.suspend(() => {
      const found = next()
      made++
      return found === undefined ? Effect.void : turn(found.seq, next() === undefined && !isEndAnswer(), true)
    }),
    diverge,
    isPast: (attempt) => {
      const follows = next()
      if (follows === undefined) return end !== undefined && end.attempts > attempt ? "retried" : undefined
      return follows.attempt === attempt ? "refused" : "retried"
    },
    ranked: rankedAs((record?.decisions ?? []).map(({ by }) => by)),
    begin: Effect.suspend(() =>
      Execution.isReplayOnly(execution, key) ? Replay.park(execution.replay.active, key, false) : awaitGate(execution)
    ),
    decided: (failure, decision, by) =>
      Effect.suspend(() => {
        diverge()
        // A rewind has lines of its own, and removes this one.
        if (decision._tag === "Rewind" || !isRecording()) return Effect.void
        const line = {
          after: made++,
          recovery: failed.name,
          step,
          decision: decision._tag,
          by,
          next: decision._tag === "Again" ? nextTime(failure, decision.delay) : undefined,
          fault: recordOf(failure.fault, failure.error)
        }
        const payload = encodeDecided(line)
        return Effect.uninterruptible(Execution.append(execution, "Decided", key, failure.attempt, payload, failure.at))
      }),
    sleepUntil: (time) =>
      Effect.suspend(() => {
        if (next() !== undefined) return Effect.void
        // Its retry started in an earlier execution.
        if (end !== undefined && end.attempts > (recorded.at(-1)?.attempt ?? 0)) return Effect.void
        if (Execution.isReplayOnly(execution, key)) return Replay.park(execution.replay.active, key, true)
        const sleep = sleepUntil(execution, key, `retry of ${failed.name ?? step ?? "a part of the workflow"}`, time)
        // The program had interrupted it, and does so again.
        return end === undefined ? sleep : Effect.zipRight(awaitGate(execution, end.seq), sleep)
      }),
    ended: (outcome, attempts) =>
      Effect.suspend(() => {
        if (end !== undefined && outcome !== "interrupted") return Effect.as(turn(end.seq, true, false), false)
        Order.answerGiven(execution, key)
        if (end !== undefined) return Effect.succeed(false)
        if (!isRecording()) return Effect.succeed(lifecycle.isClosing && outcome !== "interrupted")
        if (Execution.isReplayOnly(execution, key)) return Effect.succeed(false)
        return Effect.as(recordEnd(execution, key, outcome, attempts), true)
      })
  }
}

const recordEnd = (
  execution: Execution.Execution,
  key: string,
  outcome: Outcome,
  attempts: number
): Effect.Effect<void> => Execution.append(execution, "RecoveryEnded", key, attempts, encodeEnded(outcome))

/** JSON has no infinity. */
const nextTime = ({ at }: Strategy.Failure<unknown>, delay: Duration.Duration): number =>
  Math.min(at + Duration.toMillis(delay), Number.MAX_SAFE_INTEGER)

/** `Strategy.auto` asks those that have decided first, in that order, whatever their rank is now. */
const rankedAs =
  (first: ReadonlyArray<string>): RecoveryJournal["ranked"] =>
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Strategy.Ranking, (rank) => {
      const asBefore: Strategy.Rank = (failure, names) =>
        Effect.map(rank === undefined ? Effect.succeed(names) : rank(failure, names), (order) => [...first, ...order])
      return Effect.provideService(self, Strategy.Ranking, asBefore)
    })

/** Sleeps through a brief delay, and parks for a longer one. */
const sleepUntil = (execution: Execution.Execution, key: string, about: string, time: number): Effect.Effect<void> =>
  Effect.flatMap(execution.clock.currentTimeMillis, (now) => {
    if (isBrief(execution, time - now)) return longSleep(time - now)
    const line = { kind: "sleep", about, until: finiteTime(time), startedAt: now } as const
    return Effect.asVoid(park(execution, `${key}!`, parkedOf(execution.journal, key, line)))
  })
