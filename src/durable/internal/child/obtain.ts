import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Supervisor from "effect/Supervisor"
import type { ChildOutcome, StartedWait } from "../../../journal/JournalLine.js"
import { isStop, JournalError, RunHeld, RunMismatch, RunQueued, RunSuspended } from "../../../journal/RunError.js"
import * as Storage from "../../../storage/Storage.js"
import { whileWorking } from "../execution/activity.js"
import { never } from "../execution/bodyFibers.js"
import { heed, isLeaving } from "../execution/control.js"
import * as Execution from "../execution/execution.js"
import type { AnyEffect } from "../run/advance.js"
import { executeIn } from "../run/execute.js"
import { finiteTime, parkedOf } from "../wait/resolve.js"
import { park } from "../wait/wait.js"
import { tryReadSignals } from "../wait/watcher.js"
import { type Child, modeOf } from "./use.js"

/** What became of a child: it ended, or it continues without this process. */
type Look =
  | { readonly _tag: "Ended"; readonly outcome: ChildOutcome | undefined }
  /** When to look again without a signal, by the store's clock. */
  | { readonly _tag: "Open"; readonly until?: number | undefined }

type Attempt = (startedAt: number) => Effect.Effect<Look, never, unknown>

/**
 * Waits until a child has ended. Between two looks the parent is parked, so it can be suspended: its child's end
 * signals it.
 */
export const obtain =
  (child: Child, isResumed: boolean, look: Attempt) =>
  (line: StartedWait): Effect.Effect<ChildOutcome | undefined, never, unknown> => {
    const { execution, key, parent, place } = child
    const next = (isFirst: boolean): Effect.Effect<ChildOutcome | undefined, never, unknown> =>
      Effect.suspend(() => {
        if (isLeaving(execution)) return leave(child)
        const seen = whileWorking(execution, recorded(child, isFirst && isResumed, look(line.startedAt)))
        return Effect.flatMap(place.isInterruptible ? Effect.interruptible(seen) : seen, (seen) => {
          if (seen._tag === "Ended") return unlessCancelled(child, seen.outcome)
          // A child that was rewound after its end does not signal again.
          const signal = execution.activity.signals.has(parent.signal) ? undefined : parent.signal
          const until =
            signal === undefined ? Math.min(seen.until ?? Number.POSITIVE_INFINITY, later(line)) : seen.until
          const parked = parkedOf(execution.journal, key, { ...line, signal, until })
          return Effect.zipRight(park(execution, key, parked), next(false))
        })
      })
    const later = ({ startedAt }: StartedWait) => lookAgainAt(execution, startedAt)
    return next(true)
  }

/** The parent stops here, and is resumed here. */
const leave = ({ execution, key }: Child): Effect.Effect<never> =>
  Effect.zipRight(
    park(execution, key, { kind: "child", signal: undefined, until: undefined, waiting: undefined }),
    never
  )

/** The older the wait is, the longer the pause: twice the age each time, from a second up to 10 minutes. */
const lookAgainAt = ({ clock }: Execution.Execution, startedAt: number): number => {
  const now = clock.unsafeCurrentTimeMillis()
  return now + Math.min(Math.max(now - startedAt, 1_000), 600_000)
}

/** A child that was cancelled together with its parent is no news: the parent's own cancellation ends its body. */
const unlessCancelled = (child: Child, outcome: ChildOutcome | undefined): Effect.Effect<ChildOutcome | undefined> => {
  const { execution } = child
  if (outcome?.status !== "cancelled") return Effect.succeed(outcome)
  // The request to cancel the parent was stored first, and this process may not have heard of it yet.
  return Effect.flatMap(Execution.orStop(execution, execution.storage.find(execution.id)), (found) => {
    const cancel = Option.getOrUndefined(found)?.cancel
    if (cancel === undefined) return Effect.succeed(outcome)
    if (execution.wanted.cancel === undefined) {
      heed(execution, { hold: Option.getOrUndefined(found)?.hold, cancel })
    }
    return leave(child)
  })
}

/** A child whose end was signalled is not opened again. */
const recorded = (child: Child, isResumed: boolean, look: Effect.Effect<Look, never, unknown>) =>
  Effect.gen(function* () {
    const { execution, id, parent } = child
    if (isResumed) yield* tryReadSignals(execution)
    const { stopError } = execution.lifecycle
    if (stopError !== undefined) return yield* Execution.stop(execution, stopError)
    if (!execution.activity.signals.has(parent.signal)) return yield* look
    const row = yield* rowOf(child)
    if (row === undefined) {
      const cause = new Error("the child has ended, and was removed from the storage")
      const record = `outcome of child "${id}"`
      return yield* Execution.stop(execution, new JournalError({ reason: "Decode", run: execution.id, record, cause }))
    }
    return row.outcome === undefined ? yield* look : ended(row.outcome)
  })

const ended = ({ exit, status }: ChildOutcome): Look => ({ _tag: "Ended", outcome: { status, exit } })

const rowOf = ({ execution, id }: Child): Effect.Effect<Storage.Run | undefined> =>
  Effect.map(Execution.orStop(execution, execution.storage.find(id)), Option.getOrUndefined)

// ---- looking

/** Looks for the outcome of a child that other processes execute. */
export const found =
  (child: Child): Attempt =>
  () =>
    Effect.map(rowOf(child), (row): Look => {
      if (row === undefined || row.parent?.run !== child.execution.id) return { _tag: "Ended", outcome: undefined }
      return row.outcome === undefined ? { _tag: "Open" } : ended(row.outcome)
    })

/** Executes a child in this process. It is no part of the parent's body: only its fibers can end it. */
export const executionOf = ({ definition, execution, id, input, labels, parent, ...child }: Child): AnyEffect =>
  Effect.locally(
    executeIn(
      execution.storage,
      definition,
      { id, input, labels, parent },
      modeOf({ ...child, definition, execution, id, input, labels, parent })
    ),
    FiberRef.currentSupervisor,
    Supervisor.none
  )

/** Executes a child as far as it goes, and reads its outcome as it is recorded. */
export const executed =
  (child: Child): Attempt =>
  (startedAt) =>
    Effect.flatMap(Effect.exit(executionOf(child)), (exit) => {
      const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
      if (Exit.isFailure(exit) && Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
      const error = Option.getOrUndefined(Cause.failureOption(cause))
      // The outcome is that of another run.
      if (error instanceof RunMismatch) return Execution.stop(child.execution, error)
      return Effect.flatMap(rowOf(child), (row) =>
        row?.outcome === undefined ? withoutOutcome(child, cause, row, startedAt) : Effect.succeed(ended(row.outcome))
      )
    })

const withoutOutcome = (
  { branch, execution, key }: Child,
  cause: Cause.Cause<unknown>,
  row: Storage.Run | undefined,
  startedAt: number
): Effect.Effect<Look> => {
  const error = Option.getOrUndefined(Cause.failureOption(cause))
  if (error instanceof RunHeld || error instanceof RunQueued) return Effect.succeed({ _tag: "Open" })
  // What the row says counts: a signal that came meanwhile has made the child due.
  if (error instanceof RunSuspended) return Effect.succeed({ _tag: "Open", until: dueAt(row) })
  if (error instanceof Storage.LeaseHeld) {
    return Effect.succeed({ _tag: "Open", until: Math.max(error.until, lookAgainAt(execution, startedAt)) })
  }
  if (error instanceof Storage.LeaseLost)
    return Effect.succeed({ _tag: "Open", until: lookAgainAt(execution, startedAt) })
  if (isStop(error)) return Execution.stop(execution, error)
  execution.lifecycle.died ??= { step: key, in: branch }
  return Effect.die(Cause.squash(cause))
}

const dueAt = (row: Storage.Run | undefined): number | undefined =>
  row === undefined || row.dueAt === Storage.untilSignalled ? undefined : finiteTime(row.dueAt)
