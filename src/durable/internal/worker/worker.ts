import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import { isExcused } from "../../../journal/RunError.js"
import { prettyCause } from "../../../resilience/Foreign.js"
import { longSleep, steadyMillis } from "../../../resilience/internal/kernel/timer.js"
import { Redaction } from "../../../resilience/Redaction.js"
import { dueSince } from "../../../storage/rows.js"
import * as Storage from "../../../storage/Storage.js"
import type { Health } from "../../Worker.js"
import { Pulse } from "../execution/activity.js"
import type { Mode } from "../execution/execution.js"
import type { AnyDefinition } from "../run/advance.js"
import { execute } from "../run/execute.js"
import { inputOfRun } from "../run/rewindRun.js"
import { dateOption } from "../wait/resolve.js"

/** Two workflows with the same name and version were given to one worker. */
export class DuplicateWorkflow extends Data.TaggedError("DuplicateWorkflow")<{
  readonly workflow: string
  readonly version: string
}> {
  override get message(): string {
    return `Two workflows "${this.workflow}" of version "${this.version}" were given to one worker. Give each a name or a version of its own.`
  }
}

export interface Settings {
  readonly concurrency: number
  /** The pause between two looks for runs of other processes, in milliseconds. */
  readonly sweepMillis: number
  readonly patience: number
  /** How long it waits for its running steps when its scope closes, in milliseconds. */
  readonly drainMillis: number
  /** How long runs may be due without any progress before the worker reports itself as stalled, in milliseconds. */
  readonly stalledMillis: number
}

/** A run that stops at every execution. */
interface Stuck {
  readonly workflow: string
  readonly times: number
  readonly reason: string
  readonly at: number
  readonly notBefore: number
  /** This stop was counted when the run was suspended, and `recordExit` must not count it again. */
  readonly isCounted: boolean
}

export interface WorkerState {
  readonly running: Map<string, { readonly workflow: string; readonly since: number }>
  readonly stuck: Map<string, Stuck>
  sweptAt: number | undefined
  /** When a run was last taken, wrote a line or ended, by the clock that is never set. */
  progressAt: number | undefined
  trouble: Storage.StorageError | undefined
  leaving: boolean
}

/** Claims due runs and executes them until its scope closes. */
export const makeWorker = Effect.fnUntraced(function* (definitions: ReadonlyArray<AnyDefinition>, settings: Settings) {
  yield* refuseDuplicates(definitions)
  const storage = yield* Storage.Storage
  const state: WorkerState = {
    running: new Map(),
    stuck: new Map(),
    sweptAt: undefined,
    progressAt: undefined,
    trouble: undefined,
    leaving: false
  }
  const changed = new Pulse()
  const fibers = yield* FiberSet.make<void>()
  const unsubscribe = storage.onChange(changed.notify)
  const clock = yield* Effect.clock
  const progressed = () => {
    state.progressAt = steadyMillis(clock)
  }
  const mode = modeOf(state, settings, progressed)

  const take = (definition: AnyDefinition, run: Storage.Run) => {
    const { id, workflow } = run
    state.running.set(id, { workflow, since: run.dueAt })
    progressed()
    const stuck = state.stuck.get(id)
    if (stuck !== undefined) state.stuck.set(id, { ...stuck, isCounted: false })
    const whole = Effect.flatMap(Effect.exit(executeRun(definition, run, mode)), (exit) =>
      recordExit(storage, state, run, exit)
    )
    const done = Effect.sync(() => {
      state.running.delete(id)
      progressed()
      changed.notify()
    })
    return FiberSet.run(fibers, Effect.ensuring(Effect.asVoid(whole), done))
  }

  const sweep = Effect.gen(function* () {
    const before = changed.next
    const since = yield* Clock.currentTimeMillis
    // Read before the sweep: a run that becomes due during the sweep is due at this time, and not missed.
    const takeDue = Effect.zipLeft(
      nextSweep(storage, definitions, settings),
      takeDueRuns(storage, definitions, state, settings, take)
    )
    const next = yield* Effect.matchEffect(takeDue, {
      onFailure: (error) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          state.trouble = error
          return now + settings.sweepMillis
        }),
      onSuccess: (next) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          state.sweptAt = now
          state.trouble = undefined
          return next
        })
    })
    // A change during the sweep starts the next one at once.
    if (changed.next !== before) return yield* Effect.yieldNow()
    const delayed = [...state.stuck.values()].map(({ notBefore }) => notBefore).filter((time) => time > since)
    const now = yield* Clock.currentTimeMillis
    const untilNext = Math.min(next, ...delayed) - now
    // A clock that was set back meanwhile must not make the pause longer.
    const pause = storage.isPrivate ? untilNext : Math.min(untilNext, settings.sweepMillis)
    yield* Effect.raceFirst(Deferred.await(before), longSleep(pause))
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      state.leaving = true
      unsubscribe()
      return drain(fibers, settings.drainMillis)
    })
  )
  yield* Effect.forkScoped(Effect.interruptible(Effect.forever(sweep)))
  return state
})

/** When to look again without a change. A storage that only this process changes says when its next run is due. */
const nextSweep = (
  storage: Storage.Service,
  definitions: ReadonlyArray<AnyDefinition>,
  { sweepMillis }: Settings
): Effect.Effect<number, Storage.StorageError> =>
  storage.isPrivate
    ? Effect.map(storage.backlog, (backlog) =>
        Math.min(
          ...backlog.map((one) => (isOneOf(definitions, one) ? one.next : undefined) ?? Number.POSITIVE_INFINITY)
        )
      )
    : Effect.map(Clock.currentTimeMillis, (now) => now + sweepMillis)

const isOneOf = (
  definitions: ReadonlyArray<AnyDefinition>,
  { version, workflow }: Pick<Storage.Backlog, "version" | "workflow">
): boolean => definitions.some((one) => one.name === workflow && one.version === version)

/** Claims the runs that have been due longest, of whichever workflow. */
const takeDueRuns = (
  storage: Storage.Service,
  definitions: ReadonlyArray<AnyDefinition>,
  state: WorkerState,
  { concurrency }: Settings,
  take: (definition: AnyDefinition, run: Storage.Run) => Effect.Effect<unknown, never, unknown>
): Effect.Effect<void, Storage.StorageError, unknown> =>
  Effect.gen(function* () {
    const free = concurrency - state.running.size
    if (free <= 0) return
    const now = yield* Clock.currentTimeMillis
    // Runs that this worker executes stay due until their first line is written.
    const limit = free + state.running.size + state.stuck.size
    const found = yield* Effect.forEach(definitions, (definition) =>
      Effect.map(storage.due({ workflow: definition.name, version: definition.version, limit }), (runs) =>
        runs.map((run) => ({ definition, run }))
      )
    )
    const due = found
      .flat()
      .filter(({ run }) => !state.running.has(run.id) && (state.stuck.get(run.id)?.notBefore ?? 0) <= now)
      .sort((a, b) => dueSince(a.run) - dueSince(b.run))
      .slice(0, free)
    yield* Effect.forEach(due, ({ definition, run }) => take(definition, run), { discard: true })
  })

const modeOf = (state: WorkerState, { patience }: Settings, progressed: () => void): Mode => ({
  patience,
  isLeaving: () => state.leaving,
  onlyDue: true,
  isReplay: false,
  progressed,
  backoff: (run, reason) => {
    if (state.leaving) return undefined
    const times = (state.stuck.get(run)?.times ?? 0) + 1
    const workflow = state.running.get(run)?.workflow ?? ""
    state.stuck.set(run, { workflow, times, reason, at: 0, notBefore: 0, isCounted: true })
    return backoff(times)
  }
})

const refuseDuplicates = (definitions: ReadonlyArray<AnyDefinition>): Effect.Effect<void, DuplicateWorkflow> => {
  const seen = new Set<string>()
  for (const { name, version } of definitions) {
    const key = JSON.stringify([name, version])
    if (seen.has(key)) return Effect.fail(new DuplicateWorkflow({ workflow: name, version }))
    seen.add(key)
  }
  return Effect.void
}

const executeRun = (definition: AnyDefinition, run: Storage.Run, mode: Mode) =>
  Effect.flatMap(inputOfRun(definition, run), (input) =>
    // The workflow's own schema encoded it.
    execute(definition, { id: run.id, key: run.key, input: input as never, labels: run.labels }, mode)
  )

/** Counts a run that stopped without an outcome. Outcomes are recorded by the run itself. */
const recordExit = (
  storage: Storage.Service,
  state: WorkerState,
  { id, workflow }: Storage.Run,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const counted = state.stuck.get(id)
    const isFine = Exit.isSuccess(exit) || isExpected(exit.cause)
    if (state.leaving || (counted?.isCounted !== true && isFine)) return void state.stuck.delete(id)
    if (Exit.isSuccess(exit) || (yield* hasEnded(storage, id))) return void state.stuck.delete(id)
    // A run that stopped before its body began did not ask for a backoff, so its stop is counted here.
    const times = counted?.isCounted === true ? counted.times : (counted?.times ?? 0) + 1
    const redactor = yield* Redaction
    const reason = redactor.text(prettyCause(exit.cause).split("\n")[0] ?? "unknown")
    const now = yield* Clock.currentTimeMillis
    state.stuck.set(id, { workflow, times, reason, at: now, notBefore: now + backoff(times), isCounted: false })
  })

const hasEnded = (storage: Storage.Service, id: string): Effect.Effect<boolean> =>
  Effect.orElseSucceed(
    Effect.map(storage.find(id), (found) => Option.exists(found, ({ outcome }) => outcome !== undefined)),
    () => false
  )

const isExpected = (cause: Cause.Cause<unknown>): boolean =>
  Cause.isInterruptedOnly(cause) || Option.exists(Cause.failureOption(cause), isExcused)

/** 5 seconds, doubled at each stop, up to 5 minutes; in milliseconds. */
const backoff = (times: number): number => Math.min(5_000 * 2 ** (times - 1), 300_000)

/** Waits for the running steps, then interrupts the rest and leaves it to other workers. */
const drain = (fibers: FiberSet.FiberSet<void>, millis: number): Effect.Effect<void> =>
  FiberSet.awaitEmpty(fibers).pipe(
    Effect.interruptible,
    Effect.timeoutOption(Duration.millis(millis)),
    Effect.zipRight(FiberSet.clear(fibers))
  )

/**
 * Compares the worker with the storage's backlog: a worker is stalled if runs are due and none of its runs progresses.
 * A long queue alone is no reason.
 */
export const healthOf = (
  storage: Storage.Service,
  definitions: ReadonlyArray<AnyDefinition>,
  state: WorkerState,
  { concurrency, stalledMillis, sweepMillis }: Settings
): Effect.Effect<Health, Storage.StorageError> =>
  Effect.gen(function* () {
    const backlog = yield* storage.backlog
    // Another worker may have finished a run that was stuck here.
    for (const run of [...state.stuck.keys()]) {
      if (yield* hasEnded(storage, run)) state.stuck.delete(run)
    }
    const now = yield* Clock.currentTimeMillis
    const isKnown = (one: Storage.Backlog) => isOneOf(definitions, one)
    const known = backlog.filter(isKnown)
    const oldest = Math.min(...known.map((one) => one.oldest ?? now))
    const oldestDue = known.some(({ due }) => due > 0) ? Option.some(Duration.millis(now - oldest)) : Option.none()
    const isSweeping =
      storage.isPrivate ||
      (state.sweptAt !== undefined && now - state.sweptAt <= Math.max(stalledMillis, 3 * sweepMillis))
    const idleMillis = steadyMillis(yield* Effect.clock) - (state.progressAt ?? Number.NEGATIVE_INFINITY)
    const isProgressing =
      idleMillis < stalledMillis || !Option.exists(oldestDue, (age) => Duration.toMillis(age) >= stalledMillis)
    return {
      status: state.leaving ? "leaving" : isSweeping && isProgressing && state.trouble === undefined ? "ok" : "stalled",
      running: [...state.running].map(([run, { since, workflow }]) => ({ run, workflow, since: new Date(since) })),
      concurrency,
      due: known.reduce((sum, { due }) => sum + due, 0),
      waiting: Math.max(0, known.reduce((sum, { waiting }) => sum + waiting, 0) - state.stuck.size),
      oldestDue,
      stuck: [...state.stuck].map(([run, { at, notBefore, reason, times, workflow }]) => ({
        run,
        workflow,
        reason,
        times,
        since: new Date(at),
        nextAt: new Date(notBefore)
      })),
      unclaimed: backlog
        .filter((one) => !isKnown(one))
        .map(({ due, version, waiting, workflow }) => ({ workflow, version, runs: due + waiting })),
      sweptAt: dateOption(state.sweptAt),
      trouble: Option.fromNullable(state.trouble)
    }
  })
