import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { dueSince } from "../../../storage/rows.js"
import * as Storage from "../../../storage/Storage.js"
import type { Mode } from "../execution/execution.js"
import type { AnyDefinition } from "../run/advance.js"
import { execute } from "../run/execute.js"
import { inputOfRun } from "../run/rewindRun.js"

/** Two workflows of one name and version: nobody could tell whose runs are whose. */
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
  /** How often it looks for what other processes have left or told, in milliseconds. */
  readonly sweepMillis: number
  readonly patience: number
  /** For how long it waits at its end for the runs it has, in milliseconds. */
  readonly drainMillis: number
  /** From when on a run that is due is due for too long. */
  readonly stalledMillis: number
}

interface Running {
  readonly workflow: string
  readonly since: number
}

interface Stuck {
  readonly workflow: string
  readonly times: number
  readonly reason: string
  readonly at: number
  readonly notBefore: number
  /** Counted when it stopped, and not yet when it was settled. */
  readonly isCounted: boolean
}

/** What the worker knows of itself. */
export interface WorkerState {
  readonly running: Map<string, Running>
  readonly stuck: Map<string, Stuck>
  sweptAt: number | undefined
  trouble: Storage.StorageError | undefined
  leaving: boolean
}

/** Takes due runs and executes them until its scope closes. */
export const makeWorker = Effect.fnUntraced(function* (definitions: ReadonlyArray<AnyDefinition>, settings: Settings) {
  yield* refuseDuplicates(definitions)
  const storage = yield* Storage.Storage
  const state: WorkerState = {
    running: new Map(),
    stuck: new Map(),
    sweptAt: undefined,
    trouble: undefined,
    leaving: false
  }
  let woken = Deferred.unsafeMake<void>(FiberId.none)
  const wake = () => {
    const now = woken
    woken = Deferred.unsafeMake<void>(FiberId.none)
    Deferred.unsafeDone(now, Effect.void)
  }
  const mode: Mode = {
    patience: settings.patience,
    isLeaving: () => state.leaving,
    onlyDue: true,
    isReplay: false,
    backoff: (run, reason) => {
      if (state.leaving) return undefined
      const times = (state.stuck.get(run)?.times ?? 0) + 1
      const workflow = state.running.get(run)?.workflow ?? ""
      state.stuck.set(run, { workflow, times, reason, at: 0, notBefore: 0, isCounted: true })
      return backoff(times)
    }
  }

  const fibers = yield* FiberSet.make<void>()
  const unlisten = storage.onChange(wake)

  const take = (definition: AnyDefinition, run: Storage.Run) => {
    const { id, workflow } = run
    state.running.set(id, { workflow, since: run.dueAt })
    const stuck = state.stuck.get(id)
    if (stuck !== undefined) state.stuck.set(id, { ...stuck, isCounted: false })
    const whole = Effect.flatMap(Effect.exit(executeRun(definition, run, mode)), (exit) =>
      settle(storage, state, run, exit)
    )
    const done = Effect.sync(() => {
      state.running.delete(id)
      wake()
    })
    return FiberSet.run(fibers, Effect.ensuring(Effect.asVoid(whole), done))
  }

  /** The oldest first, whichever workflow they are of. */
  const sweep = Effect.gen(function* () {
    const free = settings.concurrency - state.running.size
    if (free <= 0) return
    const now = yield* Clock.currentTimeMillis
    // Those that run here are due too, as long as their first line is not written.
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

  const pause = Effect.suspend(() => {
    const next = woken
    return Effect.raceFirst(Deferred.await(next), Effect.sleep(settings.sweepMillis))
  })

  const look = Effect.suspend(() => {
    const before = woken
    return Effect.matchEffect(sweep, {
      onFailure: (error) =>
        Effect.sync(() => {
          state.trouble = error
        }),
      onSuccess: () =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          state.sweptAt = now
          state.trouble = undefined
        })
      // What happened meanwhile is looked at again, before anybody sleeps.
    }).pipe(Effect.zipRight(Effect.suspend(() => (woken === before ? pause : Effect.yieldNow()))))
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      state.leaving = true
      unlisten()
      return drain(fibers, settings.drainMillis)
    })
  )
  yield* Effect.forkScoped(Effect.interruptible(Effect.forever(look)))
  return state
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
    // It was written by the workflow's own schema.
    execute(definition, { id: run.id, input: input as never, labels: run.labels }, mode)
  )

/** What a run came to is on record; that it only stopped is the worker's business. */
const settle = (
  storage: Storage.Service,
  state: WorkerState,
  { id, workflow }: Storage.Run,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const counted = state.stuck.get(id)
    const isFine = Exit.isSuccess(exit) || isNoTrouble(exit.cause)
    if (state.leaving || (counted?.isCounted !== true && isFine)) return void state.stuck.delete(id)
    if (Exit.isSuccess(exit) || (yield* hasEnded(storage, id))) return void state.stuck.delete(id)
    // One that stopped before it had begun nobody has counted.
    const times = counted?.isCounted === true ? counted.times : (counted?.times ?? 0) + 1
    const reason = Cause.pretty(exit.cause).split("\n")[0] ?? "unknown"
    const now = yield* Clock.currentTimeMillis
    state.stuck.set(id, { workflow, times, reason, at: now, notBefore: now + backoff(times), isCounted: false })
  })

export const hasEnded = (storage: Storage.Service, id: string): Effect.Effect<boolean> =>
  Effect.orElseSucceed(
    Effect.map(storage.find(id), (found) => Option.exists(found, ({ outcome }) => outcome !== undefined)),
    () => false
  )

/** Somebody else had it, or the run waits: nothing is wrong with it. */
const isNoTrouble = (cause: Cause.Cause<unknown>): boolean => {
  const error = Option.getOrUndefined(Cause.failureOption(cause))
  const tag = Predicate.hasProperty(error, "_tag") ? error._tag : undefined
  return tag === "LeaseHeld" || tag === "LeaseLost" || tag === "RunSuspended" || Cause.isInterruptedOnly(cause)
}

/** 5 seconds, doubled each time, up to 5 minutes. */
const backoff = (times: number): number => Math.min(5_000 * 2 ** (times - 1), 300_000)

/** What runs comes to the end of its step; what takes longer is interrupted, and left for others. */
const drain = (fibers: FiberSet.FiberSet<void>, millis: number): Effect.Effect<void> =>
  FiberSet.awaitEmpty(fibers).pipe(
    Effect.interruptible,
    Effect.timeoutOption(Duration.millis(millis)),
    Effect.zipRight(FiberSet.clear(fibers))
  )
