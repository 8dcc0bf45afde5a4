import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { WaitRecord } from "../../../journal/Journal.js"
import { encodeEnd, encodeWait, type StartedWait, type WaitEnd, type WaitLine } from "../../../journal/JournalLine.js"
import { ReplayMismatch } from "../../../journal/RunError.js"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import { waitMark } from "../../../resilience/Key.js"
import type { Parked, ToPark } from "../execution/activity.js"
import { resting } from "../execution/bodyFibers.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import { awaitGate } from "./gate.js"
import { finiteTime, nextSignalKey, parkedOf } from "./resolve.js"
import { readSignalsAt } from "./watcher.js"

/** What to wait for. */
export interface ToWait {
  readonly name: string
  readonly kind: "sleep" | "signal"
  readonly about: string
  readonly signal?: string | undefined
  /** The JSON Schema of the signal, if there is one. */
  readonly schema?: unknown
  readonly isSecret?: boolean | undefined
  /** The time limit in milliseconds, counted from when the run first came here. */
  readonly millis?: number | undefined
  /** Why the value of the signal does not fit; undefined if it does. */
  readonly refusal?: Refusal | undefined
}

type Refusal = (payload: string) => Effect.Effect<string | undefined>

/** Waits in the body of a workflow. The wait is recorded once, however often the run is resumed. */
export const wait = (toWait: ToWait): Effect.Effect<WaitEnd, never, Execution.Run> => waitAgain(toWait, undefined)

/** A wait that has ended. */
interface Ended {
  readonly line: StartedWait
  readonly end: WaitEnd
}

/** A refused value does not end the wait: the run waits for another one, until the same time. */
const waitAgain = (toWait: ToWait, before: Ended | undefined): Effect.Effect<WaitEnd, never, Execution.Run> =>
  Effect.flatMap(waitOnce(toWait, before), (ended) =>
    ended.end.refused === undefined ? Effect.succeed(ended.end) : waitAgain(toWait, ended)
  )

const waitOnce = (toWait: ToWait, before: Ended | undefined): Effect.Effect<Ended, never, Execution.Run> =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
    Effect.flatMap(Execution.currentRun, (run): Effect.Effect<Ended> => {
      const { execution } = run
      const step = FiberTree.stepOf(fiber)
      if (step !== undefined && execution.lifecycle.stopError === undefined) {
        return Effect.die(new WaitInsideStep(toWait.about, step))
      }
      const isRoot = Order.isRoot(fiber, runtimeFlags, execution)
      const isInterruptible = RuntimeFlags.interruptible(runtimeFlags)
      const use = (key: string) => waitAt(execution, key, toWait, before, { isRoot, isInterruptible })
      return Execution.withKey(run, toWait.name, use, waitMark(toWait.name))
    })
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
  before: Ended | undefined,
  place: { readonly isRoot: boolean; readonly isInterruptible: boolean }
): Effect.Effect<Ended> => {
  const record = execution.journal.waits.get(key)
  const isAnswered = record?.end !== undefined
  const mismatch =
    differentWait(execution, record, toWait) ?? Order.check(execution, key, { isAnswered, isRoot: place.isRoot })
  if (mismatch !== undefined) return Execution.stop(execution, mismatch)
  if (record?.end !== undefined) {
    return Effect.as(Order.awaitReplayTurn(execution, key, record.lastSeq, place), { line: record, end: record.end })
  }
  if (Execution.isReplayOnly(execution, key)) {
    return Replay.park(execution.replay.active, key, record !== undefined)
  }
  const started = Effect.suspend(() =>
    record === undefined ? start(execution, key, toWait, before, place.isRoot) : Effect.succeed(record)
  )
  const gate = awaitGate(execution, record?.interruptedAt)
  const isInterruptible = place.isInterruptible || record?.interruptedAt !== undefined
  return Effect.zipRight(isInterruptible ? Effect.interruptible(gate) : gate, started).pipe(
    Effect.flatMap((line) => parkUntilEnd(execution, key, line, toWait.refusal))
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
  { about, isSecret, kind, millis, schema, signal }: ToWait,
  before: Ended | undefined,
  isRoot: boolean
): Effect.Effect<StartedWait> =>
  Effect.flatMap(execution.clock.currentTimeMillis, (now) => {
    const line = { kind, about, schema, secret: isSecret || undefined, root: isRoot || undefined }
    if (before === undefined) {
      const until = millis === undefined ? undefined : finiteTime(now + millis)
      return recordStart(execution, key, { ...line, signal, until }, now)
    }
    const { end, line: former } = before
    const next = former.signal === undefined ? undefined : nextSignalKey(former.signal)
    return recordStart(execution, key, { ...line, signal: next, until: former.until, refused: end.refused }, now)
  })

/** Records a wait, in one write with the lines that come before it. */
export const recordStart = (
  execution: Execution.Execution,
  key: string,
  line: WaitLine,
  now: number,
  before: ReadonlyArray<ReturnType<typeof Execution.nextEntry>> = []
): Effect.Effect<StartedWait> => {
  const entryKind = line.kind === "child" ? "ChildStarted" : "WaitStarted"
  const entry = Execution.nextEntry(execution, entryKind, key, 0, encodeWait(line), now)
  const recorded = Effect.as(Execution.appendAll(execution, [...before, entry]), { ...line, startedAt: now })
  const { about, kind, to } = line
  const event = { _tag: "WaitStarted", kind, about, to: Option.fromNullable(to) } as const
  return Execution.andEmit(execution, recorded, (source) => ({ ...event, source }), key)
}

/** Parks the fiber and records the end. A wait that the program interrupts is on record as interrupted. */
const parkUntilEnd = (
  execution: Execution.Execution,
  key: string,
  line: StartedWait,
  refusal: Refusal = () => Effect.succeed(undefined)
): Effect.Effect<Ended> =>
  Effect.matchCauseEffect(park(execution, key, parkedOf(execution.journal, key, line)), {
    onSuccess: ({ payload }) =>
      Effect.flatMap(payload === undefined ? Effect.succeed(undefined) : refusal(payload), (refused) => {
        const end = refused === undefined ? { payload } : { payload, refused }
        return Effect.as(recordEnd(execution, key, line, end), { line, end })
      }),
    onFailure: (cause) => Effect.zipRight(recordInterruption(execution, key), Effect.failCause(cause))
  })

/** A wait that the program interrupts does not begin again at a resume. */
export const recordInterruption = (execution: Execution.Execution, key: string): Effect.Effect<void> =>
  Effect.suspend(() =>
    Execution.isByProgram(execution) ? Execution.append(execution, "WaitInterrupted", key, 0) : Effect.void
  )

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

/**
 * Waits for a signal, or until a time. If no fiber of the body can continue
 * without one, the run is suspended and this never returns.
 */
export const park = (execution: Execution.Execution, key: string, wait: ToPark): Effect.Effect<WaitEnd> =>
  Effect.withFiberRuntime((fiber) => {
    const { activity } = execution
    const since = FiberId.unsafeMake().id
    const parked: Parked = { ...wait, answer: Deferred.unsafeMake(resting), fiber: fiber.id().id, since }
    const signalled = Effect.map(Deferred.await(parked.answer), ({ payload }): WaitEnd => ({ payload }))
    const end =
      wait.until === undefined ? signalled : Effect.raceFirst(signalled, timeUp(execution, wait.signal, wait.until))
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        activity.parked.set(key, parked)
        activity.startWatcher()
        activity.changed.notify()
      }),
      () => Effect.interruptible(end),
      () =>
        Effect.sync(() => {
          activity.parked.delete(key)
          activity.changed.notify()
        })
    )
  })

/** Sleeps until a time. A signal stored before that time wins, even if it is read later. */
const timeUp = (execution: Execution.Execution, signal: string | undefined, until: number): Effect.Effect<WaitEnd> =>
  Effect.flatMap(execution.clock.currentTimeMillis, (now) =>
    Effect.zipRight(
      longSleep(until - now),
      signal === undefined
        ? Effect.succeed({})
        : Effect.map(readSignalsAt(execution, until), () => {
            const found = execution.activity.signals.get(signal)
            return found !== undefined && found.at <= until ? { payload: found.payload } : {}
          })
    )
  )
