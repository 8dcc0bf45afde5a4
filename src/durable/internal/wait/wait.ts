import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import { ReplayMismatch, StepConflict, type Waiting } from "../../RunError.js"
import { inOrder } from "../execution/answerQueue.js"
import * as live_ from "../execution/execution.js"
import * as Branch from "../execution/fiberTree.js"
import * as Replays from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import type { WaitRecord } from "../journal/journal.js"
import { encodeEnd, encodeWait, type WaitEnd, type WaitLine } from "../journal/waitLine.js"
import { idOf } from "./waitId.js"
import * as Waits from "./waits.js"

/** What to wait for; the time is counted from when it is first waited for. */
export interface ToWait {
  readonly name: string
  readonly kind: "sleep" | "signal"
  readonly about: string
  readonly signal?: string | undefined
  readonly millis?: number | undefined
}

/** Waits in the body of a workflow: begun once, however often the run is resumed. */
export const wait = (toWait: ToWait): Effect.Effect<WaitEnd, never, live_.Run> =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
    Effect.uninterruptible(
      Effect.flatMap(live_.Run, (run): Effect.Effect<WaitEnd> => {
        const { live } = run
        if (live.stopped !== undefined) return live_.stop(live, live.stopped)
        const around = Branch.stepOf(fiber)
        if (around !== undefined) return Effect.die(new WaitInsideStep(toWait.about, around))
        const key = live_.enter(run, toWait.name, fiber)
        if (key instanceof StepConflict) return live_.stop(live, key)
        return Effect.ensuring(
          waitAt(live, key, toWait, Order.isRoot(fiber, runtimeFlags, live), RuntimeFlags.interruptible(runtimeFlags)),
          Effect.sync(() => live_.leave(run, toWait.name))
        )
      })
    )
  )

class WaitInsideStep extends Error {
  constructor(what: string, around: string) {
    super(`"${what}" is waited for inside of "${around}": wait in the workflow, beside its steps`)
    this.name = "WaitInsideStep"
  }
}

const waitAt = (
  live: live_.LiveRun,
  key: string,
  toWait: ToWait,
  isRoot: boolean,
  isInterruptible: boolean
): Effect.Effect<WaitEnd> => {
  const record = live.journal.waits.get(key)
  const isAnswered = record?.end !== undefined
  const mismatch = otherThan(live, record, toWait) ?? Order.meet(live, key, { isAnswered, isRoot })
  if (mismatch !== undefined) return live_.stop(live, mismatch)
  if (record?.end !== undefined) return Effect.as(inTurn(live, record, isRoot, isInterruptible), record.end)
  if (live.rewinding || Replays.find(live.replays, key) !== undefined) {
    return Replays.park(live.replays, key, record !== undefined)
  }
  return Effect.flatMap(record === undefined ? start(live, key, toWait, isRoot) : Effect.succeed(record), (line) =>
    Effect.flatMap(Waits.park(live, key, parkedOf(live, key, line)), (end) =>
      Effect.as(ended(live, key, line, end), end)
    )
  )
}

/** What was told is told again, in the order of the journal. */
const inTurn = (
  live: live_.LiveRun,
  { key, lastSeq }: WaitRecord,
  isRoot: boolean,
  isInterruptible: boolean
): Effect.Effect<void> => {
  if (live.replays.size > 0) return Replays.inTurn(live.replays, key, lastSeq)
  return Order.waitsForOthers(live, isRoot, lastSeq) ? inOrder(live.inOrder, lastSeq, isInterruptible) : Effect.void
}

/** The name and the place are the same, but not what is waited for. */
const otherThan = (live: live_.LiveRun, record: WaitRecord | undefined, { about, kind }: ToWait) =>
  record === undefined || (record.kind === kind && record.about === about)
    ? undefined
    : new ReplayMismatch({
        run: live.id,
        reason: "Shape",
        recorded: `${record.kind} "${record.about}" at "${record.key}"`,
        found: `${kind} "${about}"`
      })

/** Beyond the last date there is, it is for ever. */
export const atMost = (time: number): number | undefined => (time <= lastDate ? time : undefined)

const lastDate = 8.64e15

type Started = WaitLine & { readonly startedAt: number }

const start = (
  live: live_.LiveRun,
  key: string,
  { about, kind, millis, signal }: ToWait,
  root: boolean
): Effect.Effect<Started> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const until = millis === undefined ? undefined : atMost(now + millis)
    return begin(live, key, { kind, about, signal, until, root: root || undefined }, now)
  })

/** Puts a wait on record, with what else belongs to the same moment. */
export const begin = (
  live: live_.LiveRun,
  key: string,
  line: WaitLine,
  now: number,
  before: ReadonlyArray<ReturnType<typeof live_.nextEntry>> = []
): Effect.Effect<Started> => {
  const entry = live_.nextEntry(live, "WaitStarted", key, 0, encodeWait(line), now)
  const recorded = Effect.as(live_.appendAll(live, [...before, entry]), { ...line, startedAt: now })
  const { about, kind, to } = line
  return live_.andEmit(live, recorded, () => ({
    _tag: "WaitStarted",
    source: { run: live.id, step: key },
    kind,
    about,
    to: Option.fromNullable(to)
  }))
}

export const ended = (live: live_.LiveRun, key: string, { kind }: WaitLine, end: WaitEnd): Effect.Effect<void> =>
  live_.andEmit(live, live_.append(live, "WaitEnded", key, 0, encodeEnd(end)), () => ({
    _tag: "WaitEnded",
    source: { run: live.id, step: key },
    kind,
    answered: end.payload !== undefined
  }))

/** What is told about a wait while the run is suspended. */
export const parkedOf = (live: live_.LiveRun, key: string, line: Started) => {
  const { about, fault, kind, parameters = [], refused, signal, startedAt, to, until } = line
  const waiting: Waiting = {
    id: idOf(live.journal, key),
    kind,
    about,
    to: Option.fromNullable(to),
    fault: Option.fromNullable(fault),
    parameters,
    refused: Option.fromNullable(refused),
    since: new Date(startedAt),
    until: Option.map(Option.fromNullable(until), (millis) => new Date(millis))
  }
  return { kind, signal, until, waiting }
}
