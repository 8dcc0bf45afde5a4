import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { WaitRecord } from "../../../journal/Journal.js"
import { encodeEnd, encodeWait, type StartedWait, type WaitEnd, type WaitLine } from "../../../journal/JournalLine.js"
import { ReplayMismatch } from "../../../journal/RunError.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import { park } from "./park.js"
import { finiteTime, parkedOf } from "./waiting.js"

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
