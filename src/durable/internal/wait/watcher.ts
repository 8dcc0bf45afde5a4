import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Supervisor from "effect/Supervisor"
import { RunSuspended } from "../../../journal/RunError.js"
import type { Activity, Parked } from "../execution/activity.js"
import { never } from "../execution/bodyFibers.js"
import type * as Execution from "../execution/execution.js"
import { type Gate, nextTurn } from "../execution/replayOrder.js"
import { dateOption } from "./resolve.js"

/** A storage failure stops the run, and this never returns: the caller must not continue as if there was no signal. */
export const readSignals = (execution: Execution.Execution): Effect.Effect<void> =>
  Effect.matchEffect(execution.storage.signals(execution.lease.key), {
    onFailure: (error) => {
      execution.lifecycle.transition({ _tag: "Stop", error })
      return never
    },
    onSuccess: (signals) =>
      Effect.sync(() => {
        execution.activity.signalsRead = signals.length
        execution.activity.signals = new Map(signals.map((signal) => [signal.key, signal]))
      })
  })

/** Started by the first fiber that waits: a run without waits has no watcher. */
export const startWatcher = (execution: Execution.Execution): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { activity, id, storage } = execution
    if (activity.watcher !== undefined || activity.isOver) return Effect.void
    activity.unsubscribe = storage.onChange((run) => {
      if (run === id) activity.changed.notify()
    })
    // It is no fiber of the body.
    const forked = Effect.locally(
      Effect.forkDaemon(Effect.interruptible(watch(execution))),
      FiberRef.currentSupervisor,
      Supervisor.none
    )
    return Effect.map(forked, (fiber) => {
      activity.watcher = fiber
    })
  })

export const stopWatcher = ({ activity }: Execution.Execution): void => {
  activity.isOver = true
  activity.watcher?.unsafeInterruptAsFork(FiberId.none)
  endWatch(activity)
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
    const { activity, lifecycle, replay } = execution
    const { gate } = replay
    let pending = { count: gate.pending.size, since: yield* Clock.currentTimeMillis }
    while (lifecycle.phase._tag === "Running") {
      const before = activity.changed.next
      if (activity.parked.size > 0) {
        yield* readSignals(execution)
        deliver(execution)
      }
      // The body runs as far as it can without a signal.
      yield* gate.isOpen ? eventLoopTurns : eventLoopTurn
      const now = yield* Clock.currentTimeMillis
      if (gate.pending.size !== pending.count) pending = { count: gate.pending.size, since: now }
      const isIdle = isQuiet(execution, now) && (yield* activity.fibers.areIdle(restingSince(execution)))
      if (activity.changed.next !== before) continue
      if (gate.waiting.size > 0) {
        const isReplayed = gate.pending.size === 0 && activity.working === 0
        if (isReplayed || isIdle || now - pending.since >= patience) openGate(gate)
        else yield* nextChange(execution, patience - (now - pending.since))
      } else if (isIdle && gate.interrupted.size > 0) releaseFirst(gate)
      else if (isIdle && isSuspendable(execution, now)) return suspend(execution, now)
      else if (activity.parked.size === 0 && gate.interrupted.size === 0) return endWatch(activity)
      else yield* nextChange(execution, pollsForSignals(execution) ? 1_000 : undefined)
    }
    // Finalizers that wait at the gate learn that the body is ending.
    openGate(gate)
  })

/**
 * Waits until a fiber parks, ends or has something recorded, or until the limit in
 * milliseconds. Where only the body's own code runs, each pause of one of its
 * fibers is a change.
 */
const nextChange = (execution: Execution.Execution, limit: number | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { activity } = execution
    const changed = Deferred.await(activity.changed.next)
    const limited = limit === undefined ? changed : Effect.raceFirst(changed, Effect.sleep(limit))
    if (!isWithoutWork(execution)) return limited
    activity.fibers.onPause = activity.changed.notify
    return Effect.ensuring(
      limited,
      Effect.sync(() => {
        activity.fibers.onPause = undefined
      })
    )
  })

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

const eventLoopTurn = Effect.async<void>((resume) => nextTurn(() => resume(Effect.void)))

/** No step, write or rollback runs. */
const isWithoutWork = ({ activity, rollback }: Execution.Execution): boolean =>
  activity.working === 0 && rollback.open.size === 0

/** Whether it can matter that no fiber of the body can continue. */
const isQuiet = (execution: Execution.Execution, now: number): boolean => {
  const { gate } = execution.replay
  return (
    isWithoutWork(execution) && (gate.waiting.size > 0 || gate.interrupted.size > 0 || isSuspendable(execution, now))
  )
}

const restingSince = ({ activity }: Execution.Execution) => {
  const parked = new Map([...activity.parked.values()].map(({ fiber, since }) => [fiber, since]))
  return (fiber: number) => parked.get(fiber)
}

const isSuspendable = (execution: Execution.Execution, now: number): boolean => {
  const { parked } = execution.activity
  if (parked.size === 0) return false
  for (const one of parked.values()) if (isShortSleep(execution, one, now)) return false
  return true
}

/** A short sleep keeps the run in memory. */
const isShortSleep = ({ mode }: Execution.Execution, { kind, until }: Parked, now: number): boolean =>
  kind === "sleep" && until !== undefined && until - now <= mode.patience && !mode.isLeaving()

/** Stops the run until a signal is sent or the earliest time has come. */
const suspend = (execution: Execution.Execution, now: number): void => {
  const parked = [...execution.activity.parked.values()]
  const times = parked.flatMap(({ until }) => (until === undefined ? [] : [until]))
  const earliest = times.length === 0 ? undefined : Math.min(...times)
  const until = execution.mode.isLeaving() ? now : earliest
  const error = new RunSuspended({
    run: execution.id,
    waits: parked.flatMap(({ waiting }) => (waiting === undefined ? [] : [waiting])),
    until: dateOption(until)
  })
  execution.lifecycle.transition({ _tag: "Stop", error })
}
