import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { ReplayMismatch, StepConflict, type Waiting } from "../../RunError.js"
import type { WaitRecord } from "../journal/journal.js"
import { encodeEnd, encodeWait, type WaitEnd, type WaitLine } from "../journal/waitLine.js"
import * as Branch from "../run/branch.js"
import * as live_ from "../run/liveRun.js"
import * as Order from "../run/order.js"
import * as Replays from "../run/replays.js"
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
  Effect.flatMap(live_.Run, (run) =>
    Effect.uninterruptible(
      Effect.withFiberRuntime<WaitEnd, never, never>((fiber) => {
        const { live } = run
        if (live.stopped !== undefined) return live_.stop(live, live.stopped)
        const around = Branch.stepOf(fiber)
        if (around !== undefined) return Effect.die(new WaitInsideStep(toWait.about, around))
        const key = live_.enter(run, toWait.name, fiber)
        if (key instanceof StepConflict) return live_.stop(live, key)
        return Effect.ensuring(
          waitAt(live, key, toWait, fiber),
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
  fiber: Fiber.RuntimeFiber<unknown, unknown>
): Effect.Effect<WaitEnd> => {
  const record = live.journal.waits.get(key)
  const isRoot = Order.isRoot(fiber) && Order.isChecked(live)
  const mismatch = (isRoot ? Order.meet(live, key, record !== undefined) : undefined) ?? otherThan(live, record, toWait)
  if (mismatch !== undefined) return live_.stop(live, mismatch)
  if (record?.end !== undefined) return Effect.as(Replays.inTurn(live.replays, key, record.lastSeq), record.end)
  if (live.rewinding || Replays.find(live.replays, key) !== undefined) {
    return Replays.park(live.replays, key, record !== undefined)
  }
  return Effect.flatMap(
    record === undefined ? start(live, key, toWait, isRoot && !live.interrupted) : Effect.succeed(record),
    (line) =>
      Effect.flatMap(Waits.park(live, key, parkedOf(live, key, line)), (end) =>
        Effect.as(ended(live, key, line, end), end)
      )
  )
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

type Started = WaitLine & { readonly startedAt: number }

const start = (
  live: live_.LiveRun,
  key: string,
  { about, kind, millis, signal }: ToWait,
  root: boolean
): Effect.Effect<Started> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    // For ever has no JSON form.
    const until = millis === undefined ? undefined : Math.min(now + millis, Number.MAX_SAFE_INTEGER)
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
