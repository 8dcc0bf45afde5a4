import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { WaitRecord } from "../../../journal/Journal.js"
import { encodeEnd, encodeWait, type StartedWait, type WaitEnd, type WaitLine } from "../../../journal/JournalLine.js"
import { ReplayMismatch, RunSuspended } from "../../../journal/RunError.js"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import type { Parked } from "../execution/activity.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import { dateOption, finiteTime, parkedOf } from "./resolve.js"

/** What to wait for. */
export interface ToWait {
  readonly name: string
  readonly kind: "sleep" | "signal"
  readonly about: string
  readonly signal?: string | undefined
  /** The time limit in milliseconds, counted from when the run first came here. */
  readonly millis?: number | undefined
}

/** Waits in the body of a workflow. The wait is recorded once, however often the run is resumed. */
export const wait = (toWait: ToWait): Effect.Effect<WaitEnd, never, Execution.Run> =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
    Effect.uninterruptible(
      Effect.flatMap(Execution.currentRun, (run): Effect.Effect<WaitEnd> => {
        const { execution } = run
        const step = FiberTree.stepOf(fiber)
        if (step !== undefined && execution.lifecycle.stopError === undefined) {
          return Effect.die(new WaitInsideStep(toWait.about, step))
        }
        const isRoot = Order.isRoot(fiber, runtimeFlags, execution)
        const isInterruptible = RuntimeFlags.interruptible(runtimeFlags)
        return Execution.withKey(run, toWait.name, (key) => waitAt(execution, key, toWait, { isRoot, isInterruptible }))
      })
    )
  )

class WaitInsideStep extends Error {
  constructor(what: string, step: string) {
    super(`the wait for "${what}" is inside of step "${step}": move it into the workflow, before or after the step`)
    this.name = "WaitInsideStep"
  }
}

const waitAt = (
  execution: Execution.Execution,
  key: string,
  toWait: ToWait,
  place: { readonly isRoot: boolean; readonly isInterruptible: boolean }
): Effect.Effect<WaitEnd> => {
  const record = execution.journal.waits.get(key)
  const isAnswered = record?.end !== undefined
  const mismatch =
    differentWait(execution, record, toWait) ?? Order.check(execution, key, { isAnswered, isRoot: place.isRoot })
  if (mismatch !== undefined) return Execution.stop(execution, mismatch)
  if (record?.end !== undefined) {
    return Effect.as(Order.awaitReplayTurn(execution, key, record.lastSeq, place), record.end)
  }
  if (Execution.isReplayOnly(execution, key)) {
    return Replay.park(execution.replay.active, key, record !== undefined)
  }
  const started = record === undefined ? start(execution, key, toWait, place.isRoot) : Effect.succeed(record)
  return Effect.flatMap(started, (line) =>
    Effect.flatMap(park(execution, key, parkedOf(execution.journal, key, line)), (end) =>
      Effect.as(recordEnd(execution, key, line, end), end)
    )
  )
}

/** The journal has a wait of another kind or name at this key. */
const differentWait = (execution: Execution.Execution, record: WaitRecord | undefined, { about, kind }: ToWait) =>
  record === undefined || (record.kind === kind && record.about === about)
    ? undefined
    : new ReplayMismatch({
        run: execution.id,
        reason: "Shape",
        recorded: `${record.kind} "${record.about}" at "${record.key}"`,
        found: `${kind} "${about}"`
      })

const start = (
  execution: Execution.Execution,
  key: string,
  { about, kind, millis, signal }: ToWait,
  isRoot: boolean
): Effect.Effect<StartedWait> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const until = millis === undefined ? undefined : finiteTime(now + millis)
    return recordStart(execution, key, { kind, about, signal, until, root: isRoot || undefined }, now)
  })

/** Records a wait, in one write with the lines that come before it. */
export const recordStart = (
  execution: Execution.Execution,
  key: string,
  line: WaitLine,
  now: number,
  before: ReadonlyArray<ReturnType<typeof Execution.nextEntry>> = []
): Effect.Effect<StartedWait> => {
  const entry = Execution.nextEntry(execution, "WaitStarted", key, 0, encodeWait(line), now)
  const recorded = Effect.as(Execution.appendAll(execution, [...before, entry]), { ...line, startedAt: now })
  const { about, kind, to } = line
  const event = { _tag: "WaitStarted", kind, about, to: Option.fromNullable(to) } as const
  return Execution.andEmit(execution, recorded, (source) => ({ ...event, source }), key)
}

export const recordEnd = (
  execution: Execution.Execution,
  key: string,
  { kind }: WaitLine,
  end: WaitEnd
): Effect.Effect<void> => {
  const recorded = Execution.append(execution, "WaitEnded", key, 0, encodeEnd(end))
  const answered = end.payload !== undefined
  return Execution.andEmit(execution, recorded, (source) => ({ _tag: "WaitEnded", source, kind, answered }), key)
}

type ToPark = Omit<Parked, "answer">

/**
 * Waits for a signal, or until a time. If no other fiber of the execution
 * works, the run is suspended and this never returns.
 */
export const park = (execution: Execution.Execution, key: string, wait: ToPark): Effect.Effect<WaitEnd> =>
  Effect.suspend(() => {
    const { activity, journal, replay } = execution
    const parked: Parked = { ...wait, answer: Deferred.unsafeMake(FiberId.none) }
    const signalled = Effect.map(Deferred.await(parked.answer), ({ payload }): WaitEnd => ({ payload }))
    const end =
      wait.until === undefined ? signalled : Effect.raceFirst(signalled, timeUp(execution, wait.signal, wait.until))
    // A wait that ends now ends after every recorded result was handed out.
    const turn = journal.lastSeq === 0 ? Effect.void : Order.awaitAnswerTurn(replay.answers, Number.POSITIVE_INFINITY)
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
const timeUp = (execution: Execution.Execution, signal: string | undefined, until: number): Effect.Effect<WaitEnd> =>
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
const readSignals = (execution: Execution.Execution): Effect.Effect<void> =>
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
const startWatcher = (execution: Execution.Execution): Effect.Effect<void> =>
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

export const stopWatcher = ({ activity }: Execution.Execution): void => {
  activity.isOver = true
  activity.unsubscribe()
  activity.watcher?.unsafeInterruptAsFork(FiberId.none)
}

/** Delivers signals until the run ends or can be suspended. */
const watch = (execution: Execution.Execution): Effect.Effect<void> =>
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
const nextChange = ({ activity, mode }: Execution.Execution): Effect.Effect<void> => {
  const waitsForSignal = [...activity.parked.values()].some(({ signal }) => signal !== undefined)
  const pushed = Deferred.await(activity.changed.next)
  return waitsForSignal || Number.isFinite(mode.patience) ? Effect.raceFirst(pushed, Effect.sleep("1 second")) : pushed
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

const isIdle = (execution: Execution.Execution, now: number): boolean => {
  const { parked, working } = execution.activity
  if (working > 0 || execution.rollback.open.size > 0 || parked.size === 0) return false
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
