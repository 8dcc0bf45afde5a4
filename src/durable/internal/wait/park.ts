import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { WaitEnd } from "../../../journal/JournalLine.js"
import { RunSuspended } from "../../../journal/RunError.js"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import type { Parked } from "../execution/activity.js"
import { awaitAnswerTurn } from "../execution/answerQueue.js"
import type { Execution } from "../execution/execution.js"
import { dateOption } from "./waiting.js"

type ToPark = Omit<Parked, "answer">

/**
 * Waits for a signal, or until a time. If no other fiber of the execution
 * works, the run is suspended and this never returns.
 */
export const park = (execution: Execution, key: string, wait: ToPark): Effect.Effect<WaitEnd> =>
  Effect.suspend(() => {
    const { activity, journal, replay } = execution
    const parked: Parked = { ...wait, answer: Deferred.unsafeMake(FiberId.none) }
    const signalled = Effect.map(Deferred.await(parked.answer), ({ payload }): WaitEnd => ({ payload }))
    const end =
      wait.until === undefined ? signalled : Effect.raceFirst(signalled, timeUp(execution, wait.signal, wait.until))
    // A wait that ends now ends after every recorded result was handed out.
    const turn = journal.lastSeq === 0 ? Effect.void : awaitAnswerTurn(replay.answers, Number.POSITIVE_INFINITY)
    return Effect.acquireUseRelease(
      Effect.suspend(() => {
        activity.parked.set(key, parked)
        activity.changed.notify()
        return startWatcher(execution)
      }),
      () => Effect.interruptible(Effect.zipRight(turn, end)),
      () =>
        Effect.sync(() => {
          activity.parked.delete(key)
          activity.changed.notify()
        })
    )
  })

/** Sleeps until a time. A signal stored before that time wins, even if it is read later. */
const timeUp = (execution: Execution, signal: string | undefined, until: number): Effect.Effect<WaitEnd> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.zipRight(
      longSleep(until - now),
      signal === undefined
        ? Effect.succeed({})
        : Effect.map(readSignals(execution), () => {
            const found = execution.activity.signals.get(signal)
            return found !== undefined && found.at <= until ? { payload: found.payload } : {}
          })
    )
  )

/** A storage failure stops the run, and this never returns: the caller must not continue as if there was no signal. */
const readSignals = (execution: Execution): Effect.Effect<void> =>
  Effect.matchEffect(execution.storage.signals(execution.lease.key), {
    onFailure: (error) => {
      execution.lifecycle.transition({ _tag: "Stop", error })
      return Effect.interruptible(Effect.never)
    },
    onSuccess: (signals) =>
      Effect.sync(() => {
        execution.activity.signalsRead = signals.length
        execution.activity.signals = new Map(signals.map((signal) => [signal.key, signal]))
      })
  })

/** Started by the first wait: a run without waits has no watcher. */
const startWatcher = (execution: Execution): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { activity, id, storage } = execution
    if (activity.watcher !== undefined || activity.isOver) return Effect.void
    activity.unsubscribe = storage.onChange((run) => {
      if (run === id) activity.changed.notify()
    })
    return Effect.map(Effect.forkDaemon(Effect.interruptible(watch(execution))), (fiber) => {
      activity.watcher = fiber
    })
  })

export const stopWatcher = ({ activity }: Execution): void => {
  activity.isOver = true
  activity.unsubscribe()
  activity.watcher?.unsafeInterruptAsFork(FiberId.none)
}

/** Delivers signals until the run ends or can be suspended. */
const watch = (execution: Execution): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { activity, lifecycle } = execution
    while (!lifecycle.isEnding) {
      const before = activity.changed.next
      yield* readSignals(execution)
      deliver(execution)
      // The body runs as far as it can without a signal.
      yield* eventLoopTurns
      const now = yield* Clock.currentTimeMillis
      const isUnchanged = activity.changed.next === before
      if (isUnchanged && isIdle(execution, now)) return suspend(execution, now)
      if (isUnchanged) yield* nextChange(execution)
    }
  })

/** Polls every second where another process may have stored a signal: only changes of this process are pushed. */
const nextChange = ({ activity, mode }: Execution): Effect.Effect<void> => {
  const waitsForSignal = [...activity.parked.values()].some(({ signal }) => signal !== undefined)
  const pushed = Deferred.await(activity.changed.next)
  return waitsForSignal || Number.isFinite(mode.patience) ? Effect.raceFirst(pushed, Effect.sleep("1 second")) : pushed
}

const deliver = ({ activity }: Execution): void => {
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

const isIdle = (execution: Execution, now: number): boolean => {
  const { parked, working } = execution.activity
  if (working > 0 || execution.rollback.open.size > 0 || parked.size === 0) return false
  for (const one of parked.values()) if (isShortSleep(execution, one, now)) return false
  return true
}

/** A short sleep keeps the run in memory. */
const isShortSleep = ({ mode }: Execution, { kind, until }: Parked, now: number): boolean =>
  kind === "sleep" && until !== undefined && until - now <= mode.patience && !mode.isLeaving()

/** Stops the run until a signal is sent or the earliest time has come. */
const suspend = (execution: Execution, now: number): void => {
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
