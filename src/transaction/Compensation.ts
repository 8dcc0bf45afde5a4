/** Compensations: the log they are registered in, and the rollback that runs them. Shared by both transactors. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import { attemptTimeout } from "../resilience/internal/kernel/attemptTimeout.js"
import { millisOrInfinity } from "../resilience/internal/kernel/options.js"
import * as RetryPolicy from "../resilience/RetryPolicy.js"
import { RollbackFailed, type UndoFailure } from "./RollbackFailed.js"

// ---- settings

/** How a compensation is retried, and how long each attempt may take. */
export interface CompensationSettings {
  /** Defaults to `RetryPolicy.Current` at the time of the rollback. */
  readonly retry: Schedule.Schedule<unknown, unknown> | undefined
  /** Undefined: without a limit. */
  readonly timeout: Duration.Duration | undefined
}

export const settingsOf = (options: {
  readonly retry?: Schedule.Schedule<unknown, never> | undefined
  readonly timeout?: Duration.DurationInput | undefined
}): CompensationSettings => {
  const timeout = millisOrInfinity("timeout", options.timeout ?? "1 minute", 1)
  return {
    // The schedule was written for the errors of this compensation and receives only those.
    retry: options.retry as Schedule.Schedule<unknown, unknown> | undefined,
    timeout: Number.isFinite(timeout) ? Duration.millis(timeout) : undefined
  }
}

const withSettings = (
  self: Effect.Effect<unknown, unknown>,
  { retry, timeout }: CompensationSettings
): Effect.Effect<unknown, unknown> => {
  const timed = timeout === undefined ? self : attemptTimeout(self, timeout)
  return retry === undefined
    ? Effect.flatMap(RetryPolicy.Current, (policy) => RetryPolicy.retry(timed, policy))
    : RetryPolicy.retry(timed, retry)
}

// ---- log

/** One compensation, registered before the work that it undoes starts. */
export interface Compensation {
  /** The key of the step, or a key of its own. */
  readonly key: string
  /** Its position in the log; the rollback runs the highest first. */
  readonly order: number
  /** Stands for a step that cannot be undone: the rollback stops here. */
  readonly pivot: boolean
  /** Undoes the work; needs no services. The rollback adds retries and the timeout. */
  readonly run: (attempt: number) => Effect.Effect<unknown, unknown>
  readonly settings: CompensationSettings
  /** In a run: it is put on hold each time as many attempts were cut short. */
  readonly maxCutShort?: number
  /** Attempts so far, including those of earlier processes. */
  attempts: number
  done: boolean
  /** Set while it runs, so that a concurrent rollback waits for the same attempt. */
  running: Deferred.Deferred<Exit.Exit<unknown, unknown>> | undefined
}

/** The compensations of a run, or of an outermost transaction in memory, by key. */
export type CompensationLog = Map<string, Compensation>

/** The result of the work, filled in when it succeeds; the compensation receives it. */
export interface Output {
  value: Option.Option<unknown>
}

export const noOutput = (): Output => ({ value: Option.none() })

/** The compensations with this key prefix that have not completed, last registered first. */
export const pending = (
  log: CompensationLog,
  within: string,
  only?: ReadonlySet<string>
): ReadonlyArray<Compensation> =>
  [...log.values()]
    .filter(({ done, key }) => !done && key.startsWith(within) && only?.has(key) !== false)
    .sort((a, b) => b.order - a.order)

// ---- rollback

/** Records the progress of a rollback; a transaction in memory records nothing. */
export interface Recorder {
  readonly started: (compensation: Compensation) => Effect.Effect<void>
  readonly completed: (compensation: Compensation) => Effect.Effect<void>
  readonly failed: (compensation: Compensation, cause: Cause.Cause<unknown>) => Effect.Effect<void>
}

export const noRecorder: Recorder = {
  started: () => Effect.void,
  completed: () => Effect.void,
  failed: () => Effect.void
}

/** The result of a rollback. */
export interface RollbackResult {
  readonly failures: ReadonlyArray<UndoFailure>
  /** Keys that were not tried: a pivot was passed after them, or the replay did not reach them. */
  readonly remaining: ReadonlyArray<string>
  readonly pivot: string | undefined
}

export const isClean = ({ failures, pivot, remaining }: RollbackResult): boolean =>
  failures.length === 0 && pivot === undefined && remaining.length === 0

/** Which compensations a rollback runs. */
export interface RollbackScope {
  /** Those whose key has this prefix. */
  readonly within: string
  /** Of those, only these keys. */
  readonly only?: ReadonlySet<string> | undefined
}

/**
 * Runs the pending compensations of a scope uninterruptibly, last registered
 * first. Continues after a compensation that fails; stops at a pivot.
 */
export const rollback = (
  log: CompensationLog,
  { only, within }: RollbackScope,
  recorder: Recorder
): Effect.Effect<RollbackResult> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const failures: Array<UndoFailure> = []
      const tried = new Set<string>()
      for (;;) {
        // Read again each time: a fiber that is still running may have registered another one.
        const left = pending(log, within, only).filter(({ key }) => !tried.has(key))
        const next = left[0]
        if (next === undefined) return { failures, remaining: [], pivot: undefined }
        if (next.pivot) return { failures, remaining: left.slice(1).map(({ key }) => key), pivot: next.key }
        tried.add(next.key)
        const exit = yield* compensateOnce(next, recorder)
        if (Exit.isFailure(exit)) failures.push({ undo: next.key, cause: exit.cause })
      }
    })
  )

/** Concurrent rollbacks share one execution. */
const compensateOnce = (compensation: Compensation, recorder: Recorder): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.suspend(() => {
    if (compensation.running !== undefined) return Deferred.await(compensation.running)
    const running = Deferred.unsafeMake<Exit.Exit<unknown, unknown>>(FiberId.none)
    compensation.running = running
    return Effect.onExit(compensate(compensation, recorder), (exit) =>
      Effect.suspend(() => {
        compensation.running = undefined
        return Deferred.done(running, exit)
      })
    )
  })

const compensate = (compensation: Compensation, recorder: Recorder): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.gen(function* () {
    compensation.attempts++
    yield* recorder.started(compensation)
    const exit = yield* runInOwnFiber(compensation)
    if (Exit.isSuccess(exit)) {
      yield* recorder.completed(compensation)
      compensation.done = true
    } else {
      yield* recorder.failed(compensation, exit.cause)
    }
    return exit
  })

/** Interruptible in a fiber of its own: its timeout works, and an interruption of itself does not end the rollback. */
const runInOwnFiber = (compensation: Compensation): Effect.Effect<Exit.Exit<unknown, unknown>> => {
  let isFirst = true
  const attempt = Effect.suspend(() => {
    if (!isFirst) compensation.attempts++
    isFirst = false
    return compensation.run(compensation.attempts)
  })
  return Effect.flatMap(
    Effect.forkDaemon(Effect.interruptible(withSettings(attempt, compensation.settings))),
    (fiber) => Fiber.await(fiber)
  )
}

/** What a transaction fails with after its rollback: the original cause if the rollback is clean, else `RollbackFailed`. */
export const causeOf = <E>(
  section: string,
  original: Cause.Cause<E>,
  result: RollbackResult
): Cause.Cause<E | RollbackFailed<E>> => {
  if (isClean(result)) return original
  const failed = Cause.fail(rollbackFailed(section, original, result))
  // An interrupted fiber must end as interrupted.
  return Cause.isInterrupted(original)
    ? Cause.sequential(Cause.interrupt([...Cause.interruptors(original)][0] ?? FiberId.none), failed)
    : failed
}

export const rollbackFailed = <E>(section: string, original: Cause.Cause<E>, result: RollbackResult) =>
  new RollbackFailed<E>({ transaction: section.replace(/\/$/, ""), original, ...result })
