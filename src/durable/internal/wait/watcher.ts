import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Runtime from "effect/Runtime"
import * as Supervisor from "effect/Supervisor"
import { RunSuspended } from "../../../journal/RunError.js"
import { eventLoopTurn } from "../../../resilience/internal/kernel/eventLoop.js"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import { type Activity, onChangeOf, type Parked } from "../execution/activity.js"
import { never } from "../execution/bodyFibers.js"
import { isReadyToCancel } from "../execution/cancelling.js"
import { isLeaving, isToCancel } from "../execution/control.js"
import type * as Execution from "../execution/execution.js"
import { type Gate, releaseHeld, stopHolding } from "../execution/replayOrder.js"
import { dateOption } from "./resolve.js"

/** Whether the signals that were stored since the last look could be read. A storage failure stops the run. */
export const tryReadSignals = ({ activity, lease, lifecycle, storage }: Execution.Execution): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const read = activity.signalsRead
    return Effect.match(storage.signals(lease.key, read), {
      onFailure: (error) => {
        lifecycle.transition({ _tag: "Stop", error })
        return false
      },
      onSuccess: (signals) => {
        // Another fiber may have read them, and more, meanwhile.
        activity.signalsRead = Math.max(activity.signalsRead, read + signals.length)
        for (const signal of signals) activity.signals.set(signal.key, signal)
        return true
      }
    })
  })

/**
 * Reads the signals once the store's clock has reached a time: those that are stored later are later than that time.
 * Never returns after a storage failure: the caller must not continue as if there was no signal.
 */
export const readSignalsAt = (execution: Execution.Execution, time: number): Effect.Effect<void> =>
  Effect.matchEffect(execution.storage.now, {
    onFailure: (error) => {
      execution.lifecycle.transition({ _tag: "Stop", error })
      return never
    },
    onSuccess: (now) =>
      now < time
        ? Effect.zipRight(
            longSleep(time - now),
            Effect.suspend(() => readSignalsAt(execution, time))
          )
        : Effect.flatMap(tryReadSignals(execution), (isRead) => (isRead ? Effect.void : never))
  })

/**
 * Lets the first fiber that waits, or an answer that is held, start the watcher: a
 * run without either has none. It runs with what is around the body, and is no fiber of the body.
 */
export const prepareWatcher = (execution: Execution.Execution, body: Fiber.RuntimeFiber<unknown, unknown>): void => {
  const { activity, id, storage } = execution
  const fiberRefs = body.getFiberRefs()
  const { currentContext: context } = body
  activity.startWatcher = () => {
    if (activity.watcher !== undefined || activity.isOver) return
    activity.unsubscribe = onChangeOf(storage, id, activity.changed)
    const runtime = Runtime.make({ context, fiberRefs, runtimeFlags: Runtime.defaultRuntimeFlags })
    const unsupervised = Runtime.setFiberRef(runtime, FiberRef.currentSupervisor, Supervisor.none)
    activity.watcher = Runtime.runFork(unsupervised)(watch(execution), { immediate: false })
  }
}

export const stopWatcher = (execution: Execution.Execution): void => {
  const { activity } = execution
  activity.isOver = true
  activity.watcher?.unsafeInterruptAsFork(FiberId.none)
  endWatch(activity)
  stopHolding(execution)
}

const endWatch = (activity: Activity): void => {
  activity.unsubscribe()
  activity.fibers.onPause = undefined
  activity.watcher = undefined
}

/** How long recorded answers may stay away while fibers of the body still wait for something outside of it. */
const patience = 5_000

/**
 * Opens the gate, delivers signals, and suspends the run once no fiber of the
 * body can continue. Ends when no fiber waits any more.
 */
const watch = (execution: Execution.Execution): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { activity, clock, lifecycle, replay } = execution
    const { answers, gate } = replay
    let pending = { count: gate.pending.size, since: yield* clock.currentTimeMillis, isCancel: isToCancel(execution) }
    while (lifecycle.phase._tag === "Running") {
      const before = activity.changed.next
      const isCancel = isToCancel(execution)
      if (activity.parked.size > 0 && !isCancel) {
        if (!(yield* tryReadSignals(execution))) break
        deliver(execution)
      }
      // The body runs as far as it can without a signal.
      yield* gate.isOpen ? eventLoopTurns : eventLoopTurn
      const now = yield* clock.currentTimeMillis
      if (gate.pending.size !== pending.count || isCancel !== pending.isCancel) {
        pending = { count: gate.pending.size, since: now, isCancel }
      }
      const canBeIdle = isQuiet(execution, now)
      // Before the look: a fiber that comes to rest after it was looked at is a change.
      activity.fibers.onPause = canBeIdle ? activity.changed.notify : undefined
      const isIdle = canBeIdle && (yield* activity.fibers.areIdle(restingSince(execution)))
      if (activity.changed.next !== before) continue
      const left = patience - (now - pending.since)
      if (answers.isHeld) {
        if (isIdle) releaseHeld(execution)
        else if (left <= 0) stopHolding(execution)
        else yield* nextChange(before, left)
      } else if (isCancel) {
        // The body has ended by itself: a rollback that waits at the gate is its own.
        if (lifecycle.hasEnded) break
        const isLate = left <= 0 && execution.rollback.open.size === 0
        if (isIdle || isLate || isReadyToCancel(execution)) lifecycle.transition({ _tag: "Cancel" })
        else yield* nextChange(before, left > 0 ? left : undefined)
      } else if (gate.waiting.size > 0) {
        const isReplayed = gate.pending.size === 0 && activity.working === 0
        if (isReplayed || isIdle || left <= 0) openGate(gate)
        else yield* nextChange(before, left)
      } else if (isIdle && gate.interrupted.size > 0) releaseFirst(gate)
      else if (isIdle && isSuspendable(execution, now)) return suspend(execution, now)
      else if (activity.parked.size === 0 && gate.interrupted.size === 0 && !answers.isDraining) {
        return endWatch(activity)
      } else yield* nextChange(before, pollsForSignals(execution) ? 1_000 : undefined)
    }
    // Finalizers that wait at the gate, or for an answer, learn that the body is ending.
    openGate(gate)
    stopHolding(execution)
  })

/**
 * Waits until a fiber parks, ends or has something recorded, or until the limit in
 * milliseconds. `before` was taken before the watcher looked, so no change is missed.
 */
const nextChange = (before: Deferred.Deferred<void>, limit: number | undefined): Effect.Effect<void> => {
  const changed = Deferred.await(before)
  return limit === undefined ? changed : Effect.raceFirst(changed, Effect.sleep(limit))
}

/** Only changes of this process are pushed; another process may store a signal, or the due time may come. */
const pollsForSignals = ({ activity, mode, storage }: Execution.Execution): boolean =>
  !storage.isPrivate &&
  (Number.isFinite(mode.patience) || [...activity.parked.values()].some(({ signal }) => signal !== undefined))

const openGate = (gate: Gate): void => {
  gate.isOpen = true
  const waiting = [...gate.waiting]
  gate.waiting.clear()
  for (const resume of waiting) resume()
}

/** The program does not interrupt them again, so the one that was interrupted first begins anew. */
const releaseFirst = ({ interrupted }: Gate): void => {
  const [first] = [...interrupted].sort(([, a], [, b]) => a - b)
  if (first === undefined) return
  const [resume] = first
  interrupted.delete(resume)
  resume()
}

const deliver = ({ activity }: Execution.Execution): void => {
  for (const [key, { answer, signal, until }] of activity.parked) {
    const found = signal === undefined ? undefined : activity.signals.get(signal)
    if (found === undefined || (until !== undefined && found.at > until)) continue
    activity.parked.delete(key)
    activity.changed.notify()
    Deferred.unsafeDone(answer, Effect.succeed(found))
  }
}

const eventLoopTurns = Effect.repeatN(
  Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 0))),
  2
)

/** No step, write or rollback runs. */
const isWithoutWork = ({ activity, rollback }: Execution.Execution): boolean =>
  activity.working === 0 && rollback.open.size === 0

/** Whether it can matter that no fiber of the body can continue. */
const isQuiet = (execution: Execution.Execution, now: number): boolean => {
  const { answers, gate } = execution.replay
  // The next answer is handed out in a turn.
  if (!isWithoutWork(execution) || (answers.isDraining && !answers.isHeld)) return false
  const isWaiting = answers.isHeld || gate.waiting.size > 0 || gate.interrupted.size > 0
  return isWaiting || isToCancel(execution) || isSuspendable(execution, now)
}

const restingSince = ({ activity }: Execution.Execution) => {
  const parked = new Map([...activity.parked.values()].map(({ fiber, since }) => [fiber, since]))
  return (fiber: number) => parked.get(fiber)
}

const isSuspendable = (execution: Execution.Execution, now: number): boolean => {
  const { parked } = execution.activity
  if (parked.size === 0) return false
  for (const one of parked.values()) if (isShort(execution, one, now)) return false
  return true
}

/** A short wait for a time keeps the run in memory, as a sleep or a child that sleeps, and so does a time limit that is over: its fiber reads the last signals. */
const isShort = (execution: Execution.Execution, { kind, until }: Parked, now: number): boolean =>
  until !== undefined &&
  until - now <= (kind === "sleep" || kind === "child" ? execution.mode.patience : 0) &&
  !isLeaving(execution)

/** Stops the run until a signal is sent or the earliest time has come. */
const suspend = (execution: Execution.Execution, now: number): void => {
  const parked = [...execution.activity.parked.values()]
  const times = parked.flatMap(({ until }) => (until === undefined ? [] : [until]))
  const earliest = times.length === 0 ? undefined : Math.min(...times)
  // A fiber that stopped before a step waits for nothing.
  const isDue = parked.some(({ waiting }) => waiting === undefined)
  const until = isDue ? now : earliest
  const error = new RunSuspended({
    run: execution.id,
    waits: parked.flatMap(({ waiting }) => (waiting === undefined ? [] : [waiting])),
    until: dateOption(until)
  })
  execution.stoppedFor = execution.wanted.hold
  execution.lifecycle.transition({ _tag: "Stop", error })
}
