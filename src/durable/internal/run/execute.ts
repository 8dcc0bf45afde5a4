import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Events from "../../../resilience/Events.js"
import { Asker, Rewinder } from "../../../resilience/internal/kernel/runServices.js"
import * as Storage from "../../../storage/Storage.js"
import { isClean } from "../../../transaction/Compensation.js"
import { Transactor } from "../../../transaction/Transactor.js"
import {
  JournalError,
  machineryOf,
  RewindFailed,
  type RunError,
  RunMismatch,
  RunNotFound,
  type RunSuspended
} from "../../RunError.js"
import { makeInOrder } from "../execution/answerQueue.js"
import { byCaller, emit, type How, type LiveRun, Run, type RunService } from "../execution/execution.js"
import * as Branch from "../execution/fiberTree.js"
import { orderOf, unmetAtEnd } from "../execution/replayOrder.js"
import { canonical, causeCodec, valueCodec } from "../journal/codec.js"
import { emptyJournal, type Journal, knownOf, loadJournal } from "../journal/journal.js"
import type { RewindRecord } from "../journal/rewindLine.js"
import { performRewind } from "../rewind/perform.js"
import { makeRewinder } from "../rewind/rewinder.js"
import { durableTransactor } from "../rollback/durable.js"
import * as Cells from "../state/cells.js"
import { CellsTag, cellsOf } from "../state/service.js"
import { isAnswered } from "../step/answerStep.js"
import { Injected } from "../step/injected.js"
import { makeAsker } from "../wait/asker.js"
import { waitingOf } from "../wait/waiting.js"
import { makeWaits, unwatch } from "../wait/waits.js"

export interface Definition<in Input, out A, out E, out R> {
  readonly name: string
  readonly version: string
  readonly input: Schema.Schema.Any
  readonly success: Schema.Schema.Any
  readonly error: Schema.Schema.All
  readonly body: (input: Input) => Effect.Effect<A, E, R | Run>
}

interface Request<Input> {
  readonly id: string
  readonly input: Input
  readonly labels?: Readonly<Record<string, string>> | undefined
}

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

export type AnyDefinition = Definition<never, unknown, unknown, unknown>

export const execute = <Input, A, E, R>(
  definition: Definition<Input, A, E, R>,
  request: Request<Input>,
  how: How = byCaller
): Effect.Effect<A, E | RunError, R | Storage.Storage> =>
  // Values pass through the definition's own schemas on every way, so they are of its types.
  Effect.flatMap(Storage.Storage, (storage) => executeIn(storage, definition, request, how)) as Effect.Effect<
    A,
    E | RunError,
    R | Storage.Storage
  >

const executeIn = (storage: Storage.Service, definition: AnyDefinition, request: Request<unknown>, how: How) =>
  // Between getting the lease and keeping it nothing may come.
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(open(storage, definition, request, restore, how.onlyDue ? "due" : undefined), (opened) => {
      switch (opened._tag) {
        case "Finished":
          return restore(adopt(definition, request.id, opened.run.outcome as Storage.Outcome))
        case "Held":
        case "Waiting":
          return Effect.fail(held(opened.run))
        case "Created":
          return advance(storage, definition, request, opened.lease, emptyJournal(), restore, how)
        case "Claimed":
          return Effect.flatMap(readSteps(storage, opened.lease), (journal) =>
            advance(storage, definition, request, opened.lease, journal, restore, how)
          )
      }
    })
  )

export const held = (run: Storage.Run) =>
  new Storage.LeaseHeld({ run: run.id, owner: run.owner ?? "nobody", until: run.leaseUntil ?? 0 })

// ---- opening

type Open = Exclude<Storage.Opened, { readonly _tag: "Different" }>

const open = Effect.fnUntraced(function* (
  storage: Storage.Service,
  definition: AnyDefinition,
  { id, input, labels = {} }: Request<unknown>,
  restore: Storage.Restore,
  only?: "due" | "new"
) {
  const text = yield* restore(encodeInput(definition, id, input))
  const wanted = { id, workflow: definition.name, version: definition.version, labels, only }
  const opened = yield* storage.open({ ...wanted, input: text }, restore)
  if (!isDifferent(opened)) return opened
  const recorded = opened.run
  if (recorded.workflow !== definition.name) {
    return yield* new RunMismatch({ run: id, field: "workflow", recorded: recorded.workflow, given: definition.name })
  }
  // The schema may write the same input in another way than when the run was started.
  const rewritten = yield* restore(rewriteInput(definition, id, recorded.input))
  if (rewritten !== text) {
    return yield* new RunMismatch({ run: id, field: "input", recorded: recorded.input, given: text })
  }
  // Opened with the recorded text it cannot be different again.
  return (yield* storage.open({ ...wanted, input: recorded.input }, restore)) as Open
})

/** Puts a run on record for whoever executes it. */
export const start = (definition: AnyDefinition, request: Request<unknown>) =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(open(storage, definition, request, restore, "new"), (opened) => {
        if (!("lease" in opened)) return Effect.void
        const { lease, run } = opened
        // As long as nobody has it, it is due.
        const left = storage.suspend(lease, { dueAt: run.dueAt, signals: Number.MAX_SAFE_INTEGER })
        const orReleased = Effect.onError(left, () => storage.release(lease))
        return Effect.catchTag(orReleased, "LeaseLost", () => Effect.void)
      })
    )
  ) as Effect.Effect<void, RunError, Storage.Storage>

/** Waits until the outcome of a run is on record, whoever executes it. */
export const join = (definition: AnyDefinition, id: string): Effect.Effect<unknown, unknown, unknown> =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.suspend(() => {
      let changed = Deferred.unsafeMake<void>(FiberId.none)
      const listen = Effect.sync(() =>
        storage.onChange((run) => {
          if (run !== id) return
          Deferred.unsafeDone(changed, Effect.void)
          changed = Deferred.unsafeMake<void>(FiberId.none)
        })
      )
      const look: (pause: number) => AnyEffect = (pause) =>
        Effect.suspend(() => {
          const next = changed
          return Effect.flatMap(storage.find(id), (found): AnyEffect => {
            if (Option.isNone(found)) return new RunNotFound({ run: id })
            const { outcome, workflow } = found.value
            if (workflow !== definition.name) {
              return new RunMismatch({ run: id, field: "workflow", recorded: workflow, given: definition.name })
            }
            if (outcome !== undefined) return adopt(definition, id, outcome)
            return Effect.zipRight(
              Effect.raceFirst(Deferred.await(next), Effect.sleep(pause)),
              look(Math.min(pause * 2, longestPause))
            )
          })
        })
      return Effect.acquireUseRelease(
        listen,
        () => look(20),
        (unlisten) => Effect.sync(unlisten)
      )
    })
  )

/** Other processes tell nobody: they are looked for. */
const longestPause = 1_000

const isDifferent = (opened: Storage.Opened): opened is Exclude<Storage.Opened, Open> => opened._tag === "Different"

const encodeInput = (definition: AnyDefinition, run: string, input: unknown) =>
  valueCodec(definition.input)
    .encode(input)
    .pipe(
      Effect.map(canonical),
      Effect.mapError((cause) => new JournalError({ reason: "Encode", run, record: "input", cause }))
    )

const rewriteInput = (definition: AnyDefinition, run: string, recorded: string) => {
  const codec = valueCodec(definition.input)
  return codec.decode(recorded === "" ? undefined : recorded).pipe(
    Effect.flatMap(codec.encode),
    Effect.map(canonical),
    Effect.mapError((cause) => new JournalError({ reason: "Decode", run, record: "input", cause }))
  )
}

// ---- advancing

export const readSteps = (storage: Storage.Service, lease: Storage.Lease): Effect.Effect<Journal, RunError> =>
  Effect.onError(loadJournal(storage, { id: lease.run, key: lease.key }), () => storage.release(lease))

/** Runs the body, and again after each rewind. */
const advance = (
  storage: Storage.Service,
  definition: AnyDefinition,
  request: Request<unknown>,
  lease: Storage.Lease,
  journal: Journal,
  restore: Storage.Restore,
  how: How
): AnyEffect =>
  Effect.flatMap(makeLive(storage, definition, request.id, lease, journal, how), (live) => {
    const body = restore(bodyOf(live, definition, request.input))
    const { rewinding } = journal
    const pass =
      rewinding === undefined
        ? Effect.zipRight(
            emit(live, () => began(live)),
            runFenced(live, body, restore, Fiber.await)
          )
        : rewind(live, rewinding, body, restore)
    return Effect.flatMap(Effect.zipLeft(pass, closed(live)), (exit) => {
      if (isToGoOn(live, rewinding, exit)) {
        live.over = true
        return Effect.flatMap(readSteps(storage, lease), (next) =>
          advance(storage, definition, request, lease, next, restore, how)
        )
      }
      // What a body that was only replayed came to is no outcome.
      return rewinding === undefined || live.stopped !== undefined
        ? settle(live, definition, exit)
        : stopped(live, Effect.interrupt, "interruption")
    })
  })

/** A transaction of a fiber nobody waits for may be in the middle of its rollback. */
const closed = (live: LiveRun): Effect.Effect<void> =>
  Effect.suspend(() => Effect.forEach([...live.open], Deferred.await, { discard: true }))

/** It was rewound, or is to be: the journal says what is left. */
const isToGoOn = (live: LiveRun, rewinding: RewindRecord | undefined, exit: Exit.Exit<unknown, unknown>): boolean =>
  live.stopped === undefined && !live.interrupted && (rewinding === undefined ? live.rewinding : Exit.isSuccess(exit))

/** A rewind that was begun, here or in a process that has ended. */
export const rewind = (
  live: LiveRun,
  record: RewindRecord,
  body: AnyEffect,
  restore: Storage.Restore
): Effect.Effect<Exit.Exit<unknown, unknown>, never, unknown> =>
  runFenced(live, body, restore, (fiber) =>
    Effect.map(performRewind(live, record, fiber), (undone) => {
      const { id: run } = live
      if (!isClean(undone)) live.stopped ??= new RewindFailed({ run, point: record.point, ...undone })
      return Exit.void
    })
  )

export const makeLive = (
  storage: Storage.Service,
  definition: AnyDefinition,
  id: string,
  lease: Storage.Lease,
  journal: Journal,
  how: How = byCaller
): Effect.Effect<LiveRun> =>
  Effect.map(Effect.all([Events.watch, Effect.clock, Effect.serviceOption(Injected)]), ([watch, clock, fault]) => ({
    id,
    workflow: definition.name,
    error: definition.error,
    lease,
    storage,
    clock,
    journal,
    undoLog: new Map(),
    cells: Cells.make(journal),
    replays: new Set(),
    order: orderOf(journal),
    inOrder: makeInOrder(),
    how,
    waits: makeWaits(),
    asking: new Map(),
    uses: new Map(),
    running: new Set(),
    watch,
    fault: Option.getOrUndefined(fault),
    lastSeq: journal.lastSeq,
    halt: () => {},
    diedIn: undefined,
    stopped: undefined,
    rewinding: false,
    open: new Set(),
    closed: new Set(),
    over: false,
    interrupted: false
  }))

/** The body with the run around it. In a fiber of its own, so nothing has to be put back. */
export const bodyOf = (live: LiveRun, definition: AnyDefinition, input: unknown): AnyEffect => {
  const run: RunService = { id: live.id, workflow: live.workflow, section: "", transaction: undefined, live }
  const services = Context.make(Run, run).pipe(
    Context.add(Rewinder, makeRewinder(live)),
    Context.add(Asker, makeAsker(live)),
    Context.add(CellsTag, cellsOf(live)),
    Context.add(Transactor, durableTransactor)
  )
  return Effect.withFiberRuntime((fiber) =>
    FiberRef.set(FiberRef.currentContext, Context.merge(fiber.currentContext, services)).pipe(
      Effect.zipRight(FiberRef.set(Branch.current, Branch.makeRoot())),
      // The input was encoded by the definition's own schema, so it is of the type the body takes.
      Effect.zipRight(Effect.suspend(() => definition.body(input as never)))
    )
  )
}

const began = (live: LiveRun): Events.Event => {
  const { id: run, journal, workflow } = live
  const answered = [...journal.steps.values()].filter(isAnswered).length
  return journal.lastSeq === 0
    ? { _tag: "RunStarted", source: { run }, workflow }
    : { _tag: "RunResumed", source: { run }, workflow, answered }
}

/**
 * Runs the body in a fiber of its own, so that losing the lease can interrupt
 * it without interrupting the caller, and waits for what is made of it.
 */
const runFenced = (
  live: LiveRun,
  body: AnyEffect,
  restore: Storage.Restore,
  wait: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => Effect.Effect<Exit.Exit<unknown, unknown>>
): Effect.Effect<Exit.Exit<unknown, unknown>, never, unknown> =>
  Effect.flatMap(Effect.fork(body), (fiber) => {
    live.halt = () => fiber.unsafeInterruptAsFork(FiberId.none)
    const letGo = live.storage.keep(live.lease, (error) => {
      live.stopped ??= error
      live.halt()
    })
    return Effect.matchCauseEffect(restore(wait(fiber)), {
      onSuccess: (exit) => {
        letGo()
        unwatch(live)
        return Effect.succeed(exit)
      },
      // Only the caller's interruption ends the wait early; the body ends before the lease does.
      onFailure: () => {
        live.interrupted = true
        return Effect.tap(Fiber.interrupt(fiber), () =>
          Effect.sync(() => {
            letGo()
            unwatch(live)
          })
        )
      }
    })
  })

// ---- settling

const settle = (live: LiveRun, definition: AnyDefinition, exit: Exit.Exit<unknown, unknown>) => {
  if (live.stopped !== undefined) return stopped(live, Effect.fail(live.stopped), live.stopped._tag)
  const open = openRollback(live)
  if (open !== undefined && !live.interrupted) return stopped(live, Effect.fail(open), open._tag)
  const unmet = Exit.isSuccess(exit) || isTyped(exit.cause) ? unmetAtEnd(live) : undefined
  if (unmet !== undefined && !live.interrupted) return stopped(live, Effect.fail(unmet), unmet._tag)
  if (Exit.isSuccess(exit)) return completed(live, definition, exit.value)
  const machinery = machineryOf(exit.cause)
  if (machinery !== undefined) return stopped(live, Effect.fail(machinery), machinery._tag)
  return isTyped(exit.cause)
    ? failed(live, definition, exit.cause)
    : stopped(live, exit, Cause.isDie(exit.cause) ? "a defect" : "interruption")
}

const isTyped = (cause: Cause.Cause<unknown>): boolean => Cause.isFailure(cause) && !Cause.isDie(cause)

/** A rollback an earlier process had begun, which the program did not come by again: no outcome before it has ended. */
const openRollback = (live: LiveRun): RewindFailed | undefined => {
  const { closed, id: run, journal } = live
  for (const { section, status } of journal.rollbacks.values()) {
    if (status !== "started" || closed.has(section)) continue
    const remaining = knownOf(journal).flatMap(([key, { isNeeded }]) =>
      isNeeded && key.startsWith(section) ? [key] : []
    )
    const point = `the start of transaction "${section}"`
    if (remaining.length > 0) return new RewindFailed({ run, point, failures: [], remaining, pivot: undefined })
  }
  return undefined
}

/** No outcome: the lease goes back, and whoever executes the run next goes on. */
export const stopped = <A, E>(
  live: LiveRun,
  result: Effect.Effect<A, E>,
  reason: string
): Effect.Effect<A, E | RunError> => {
  const end = live.stopped?._tag === "RunSuspended" ? suspended(live, live.stopped) : released(live, reason)
  return Effect.zipRight(end, result)
}

const released = (live: LiveRun, reason: string) =>
  Effect.zipRight(
    putOff(live, reason),
    emit(live, () => ({ _tag: "RunStopped", source: { run: live.id, step: live.diedIn }, reason }))
  )

/** Whoever executes it again and again wants it not before long. */
const putOff = ({ clock, how, id, lease, storage }: LiveRun, reason: string): Effect.Effect<void> => {
  const millis = how.putOff(id, reason)
  if (millis === undefined) return storage.release(lease)
  const suspension = { dueAt: clock.unsafeCurrentTimeMillis() + millis, signals: Number.MAX_SAFE_INTEGER }
  return Effect.catchAll(storage.suspend(lease, suspension), () => storage.release(lease))
}

/** Left in a way that it is found again: when its time has come, or when it was told something. */
const suspended = (live: LiveRun, { until, waits }: RunSuspended) => {
  const suspension = {
    dueAt: Option.match(until, { onNone: () => Storage.untilSignalled, onSome: (date) => date.getTime() }),
    waiting: waitingOf(waits),
    signals: live.waits.seen
  }
  return Effect.zipRight(
    Effect.onError(live.storage.suspend(live.lease, suspension), () => live.storage.release(live.lease)),
    emit(live, () => ({ _tag: "RunSuspended", source: { run: live.id }, until }))
  )
}

const completed = (live: LiveRun, definition: AnyDefinition, value: unknown) =>
  Effect.matchEffect(valueCodec(definition.success).encode(value), {
    onFailure: (cause) => unwritable(live, "success", cause),
    onSuccess: (text) => record(live, definition, "completed", text ?? "", Effect.succeed(value), Option.none())
  })

const failed = (live: LiveRun, definition: AnyDefinition, cause: Cause.Cause<unknown>) =>
  Effect.matchEffect(causeCodec(definition.error).encode(cause), {
    onFailure: (issue) => unwritable(live, "error", issue),
    onSuccess: (text) => record(live, definition, "failed", text ?? "", Effect.failCause(cause), Option.some(cause))
  })

const unwritable = (live: LiveRun, record: string, cause: unknown) =>
  stopped(live, new JournalError({ reason: "Encode", run: live.id, record, cause }), "JournalError")

/** The first recorded outcome is the outcome; who comes late adopts it. */
const record = (
  live: LiveRun,
  definition: AnyDefinition,
  status: Storage.Outcome["status"],
  exit: string,
  own: Effect.Effect<unknown, unknown>,
  cause: Option.Option<Cause.Cause<unknown>>
) =>
  Effect.matchEffect(live.storage.finish(live.lease, { status, exit }), {
    onFailure: (error) => stopped(live, Effect.fail(error), error._tag),
    onSuccess: (recorded) =>
      Effect.zipRight(
        emit(live, () => ({
          _tag: "RunFinished",
          source: { run: live.id },
          workflow: definition.name,
          outcome: recorded.status,
          cause
        })),
        recorded.status === status && recorded.exit === exit ? own : adopt(definition, live.id, recorded)
      )
  })

const adopt = (
  definition: AnyDefinition,
  run: string,
  outcome: Storage.Outcome
): Effect.Effect<unknown, unknown, unknown> => {
  const text = outcome.exit === "" ? undefined : outcome.exit
  const unreadable = (record: string) => (cause: unknown) => new JournalError({ reason: "Decode", run, record, cause })
  return outcome.status === "completed"
    ? Effect.mapError(valueCodec(definition.success).decode(text), unreadable("success"))
    : Effect.flatMap(Effect.mapError(causeCodec(definition.error).decode(text), unreadable("error")), Effect.failCause)
}
