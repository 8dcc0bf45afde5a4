import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { isExcused } from "../../../journal/RunError.js"
import { durationText } from "../../../resilience/DurationText.js"
import { prettyCause } from "../../../resilience/Foreign.js"
import { longSleep, steadyMillis } from "../../../resilience/internal/kernel/timer.js"
import { Redaction } from "../../../resilience/Redaction.js"
import * as Storage from "../../../storage/Storage.js"
import type { Health } from "../../Worker.js"
import { Pulse } from "../execution/activity.js"
import type { Mode } from "../execution/execution.js"
import type { AnyDefinition } from "../run/advance.js"
import { type ClaimedRun, claimDue, executeClaimed } from "../run/execute.js"
import { dateOption } from "../wait/resolve.js"
import { distinctQueues, refuseDuplicates, versionKey } from "./duplicates.js"
import { HintedLooks } from "./hintedLooks.js"
import { OwnShards, type Placement, type Taken } from "./placement.js"
import { queueHealth } from "./queueHealth.js"
import { Starts } from "./starts.js"

export interface Settings {
  readonly concurrency: number
  readonly queues: ReadonlyArray<Storage.QueueLimits>
  /** The pause between two looks for runs of other processes, in milliseconds. */
  readonly sweepMillis: number
  readonly patience: number
  /** How long it waits for its running steps when its scope closes, in milliseconds. */
  readonly drainMillis: number
  /** How long runs may be due without any progress before the worker reports itself as stalled, in milliseconds. */
  readonly stalledMillis: number
  /** Defaults to claiming all due runs of its workflows. */
  readonly placement?: Placement | undefined
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

interface RunningRun {
  readonly workflow: string
  readonly since: number
  /** It was made due by something, such as a signal, while it was executed here. */
  isDue: boolean
}

export interface WorkerState {
  readonly running: Map<string, RunningRun>
  readonly stuck: Map<string, Stuck>
  sweptAt: number | undefined
  /** Whether the last sweep left free places, so that what is due can only wait for its queue. */
  hasPlaces: boolean
  /** When it looks next, unless a change wakes it before. Looks in vain after hints do not put it off. */
  sweepAt: number
  /** When a run was last taken, wrote a line or ended, by the clock that is never set. */
  progressAt: number | undefined
  trouble: Storage.StorageError | undefined
  /** Whether a look ever failed. Its claim may have leases, or get them when the call arrives late. */
  hasFailed: boolean
  leaving: boolean
  /** The shards that it owns; undefined without a placement. */
  shards: OwnShards | undefined
  /** Looks for due runs at once. */
  readonly look: () => void
  /** Ends when this process executes no run of a shard that its placement has lost. */
  readonly handedOver: (shard: number) => Effect.Effect<void>
}

const initialState = (look: () => void): WorkerState => ({
  running: new Map(),
  stuck: new Map(),
  sweptAt: undefined,
  hasPlaces: false,
  sweepAt: 0,
  progressAt: undefined,
  trouble: undefined,
  hasFailed: false,
  leaving: false,
  shards: undefined,
  look,
  handedOver(shard) {
    return this.shards?.handedOver(shard) ?? Effect.void
  }
})

/** Claims due runs and executes them until its scope closes. */
export const makeWorker = Effect.fnUntraced(function* (definitions: ReadonlyArray<AnyDefinition>, settings: Settings) {
  const queues = yield* distinctQueues(settings.queues)
  yield* refuseDuplicates(definitions)
  const storage = yield* Storage.Storage
  const changed = new Pulse()
  const state = initialState(changed.notify)
  const fibers = yield* FiberSet.make<void>()
  const shards = yield* makeShards(storage, state, settings, changed)
  state.shards = shards
  const clock = yield* Effect.clock
  const hints = new HintedLooks(storage.owner, clock, settings.sweepMillis)
  const isQueued = queues.length > 0
  const unsubscribe = storage.onChange(listener(state, changed, hints, isQueued))
  const progressed = () => {
    state.progressAt = steadyMillis(clock)
  }
  const mode = modeOf(state, settings, progressed)
  const workflows = definitions.map(({ name, version }) => ({ workflow: name, version }))
  const starts = new Starts(queues)
  const byVersion = new Map(definitions.map((one) => [versionKey(one.name, one.version), one]))

  const take = (claimed: ClaimedRun, restore: Storage.Restore) => {
    const { lease, run } = claimed
    const { id, version, workflow } = run
    // A store answers with runs of the workflows that it was asked for.
    const definition = byVersion.get(versionKey(workflow, version)) as AnyDefinition
    const running: RunningRun = { workflow, since: lease.since, isDue: false }
    state.running.set(id, running)
    starts.add(run)
    hints.found()
    progressed()
    const stuck = state.stuck.get(id)
    if (stuck !== undefined) state.stuck.set(id, { ...stuck, isCounted: false })
    const taken: Taken = shards?.take(id, mode) ?? { mode, begin: () => {} }
    const executed = executeClaimed(storage, definition, claimed, restore, taken.mode)
    let isOver = false
    const whole = Effect.flatMap(Effect.exit(executed), (exit) => {
      isOver = Exit.isSuccess(exit)
      return restore(recordExit(storage, state, run, exit, taken.mode))
    })
    const done = Effect.sync(() => {
      state.running.delete(id)
      shards?.leave(run)
      progressed()
      // It made nothing due: neither itself, nor its parent, nor a run of its queue, nor one for which there was no place.
      const isLonely = isOver && !running.isDue && run.parent === undefined && !isQueued && state.hasPlaces
      if (isLonely && isTold(storage)) hints.hear()
      else changed.notify()
    })
    return Effect.map(FiberSet.run(fibers, Effect.ensuring(Effect.asVoid(whole), done)), taken.begin)
  }

  /** Claims the runs that have been due longest, of whichever workflow. */
  const takeDueRuns = (which: Pick<Storage.DueQuery, "placement" | "orphans"> = {}) =>
    Effect.gen(function* () {
      const limit = settings.concurrency - state.running.size
      state.hasPlaces = false
      if (limit <= 0) return
      const now = yield* Clock.currentTimeMillis
      const query = { workflows, queues, except: exceptedRuns(state, now), limit, ...which }
      // Uninterruptible from the claim until a fiber has each run: it executes the run or releases the lease.
      const damaged = yield* Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(claimDue(storage, query, restore), ({ claimed, damaged }) =>
          Effect.as(
            Effect.forEach(claimed, (one) => take(one, restore), { discard: true }),
            damaged
          )
        )
      )
      state.hasPlaces = state.running.size < settings.concurrency
      if (damaged.length === 0) return
      const redactor = yield* Redaction
      for (const run of damaged) {
        yield* warnOfStops(state, run.id, addStop(state, run, redactor.text(run.damaged ?? "damaged"), now))
      }
      // They took places of runs that can be executed.
      changed.notify()
    })

  const takeRuns = shards === undefined ? takeDueRuns() : takePlacedRuns(storage, shards, state, settings, takeDueRuns)

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      state.leaving = true
      unsubscribe()
      return drain(fibers, settings.drainMillis)
    })
  )
  yield* Effect.forkScoped(
    Effect.interruptible(
      Effect.forever(sweep({ storage, settings, state, changed, starts, hints, definitions, takeRuns }))
    )
  )
  return state
})

/** Looks at once for what this process changes, and after hints for what others may have made due. */
const listener =
  (state: WorkerState, changed: Pulse, hints: HintedLooks, isQueued: boolean): Storage.ChangeListener =>
  ({ isDue, isOwn, run }) => {
    const { running, shards } = state
    const own = running.get(run)
    // When its execution ends, the worker looks.
    if (own !== undefined) own.isDue ||= isDue
    else if (run === "" || shards === undefined || shards.owns(run)) {
      if (isOwn) changed.notify()
      // Any end may free a place in a queue.
      else if (isDue || isQueued) hints.hear()
    } else if (isOwn && isDue) shards.tell(run)
  }

interface Sweeping {
  readonly storage: Storage.Service
  readonly settings: Settings
  readonly state: WorkerState
  readonly changed: Pulse
  readonly starts: Starts
  readonly hints: HintedLooks
  readonly definitions: ReadonlyArray<AnyDefinition>
  readonly takeRuns: Effect.Effect<void, Storage.StorageError, unknown>
}

/** Takes what is due, and waits until something else may be. */
const sweep = ({
  changed,
  definitions,
  hints,
  settings,
  starts,
  state,
  storage,
  takeRuns
}: Sweeping): Effect.Effect<void, never, unknown> =>
  Effect.gen(function* () {
    const before = changed.next
    hints.begin()
    const since = yield* Clock.currentTimeMillis
    // Read before the sweep: a run that becomes due during the sweep is due at this time, and not missed.
    const untilDue = Effect.zipLeft(nextSweep(storage, definitions, settings), takeRuns)
    const takeDue = Effect.zipWith(untilDue, starts.nextPlace(storage, state), Math.min)
    const next = yield* Effect.matchEffect(takeDue, {
      onFailure: (error) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          state.trouble = error
          state.hasFailed = true
          return now + settings.sweepMillis
        }),
      onSuccess: (next) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          state.sweptAt = now
          state.trouble = undefined
          return next
        })
    })
    const isInVain = yield* hints.end
    // A change during the sweep starts the next one at once.
    if (changed.next !== before) return yield* Effect.yieldNow()
    const later = [...state.stuck.values()].map(({ notBefore }) => notBefore)
    const delayed = later.filter((time) => time > since)
    const now = yield* Clock.currentTimeMillis
    // Leases of a claim whose answer was lost end without a change, and the backlog does not name them.
    const leaseEnd = state.hasFailed ? now + storage.leaseMillis : Number.POSITIVE_INFINITY
    // Hints wake all workers at once. If their sweeps followed, all of them would be in step from then on.
    if (!isInVain) state.sweepAt = next
    const untilNext = Math.min(next, state.sweepAt, leaseEnd, ...delayed) - now
    // A clock that was set back meanwhile must not make the pause longer.
    const pause = storage.isPrivate ? untilNext : Math.min(untilNext, settings.sweepMillis)
    const woken = Effect.raceFirst(Deferred.await(before), longSleep(pause))
    // Without a place it looks when one of its runs ends.
    const isHinted = isTold(storage) && state.running.size < settings.concurrency
    yield* isHinted ? Effect.raceFirst(woken, hints.wanted) : woken
  })

/**
 * Ends the leases of others on shards that were gained, and takes what is due of its own ones. Once a sweep it also takes
 * what no living process has, of whichever shard: the shards of a process that died are assigned again much later than
 * its leases end. These leases are ordinary ones, so the next owner of the shard does not break them.
 */
const takePlacedRuns = (
  storage: Storage.Service,
  shards: OwnShards,
  state: WorkerState,
  { sweepMillis }: Settings,
  takeDueRuns: (
    which: Pick<Storage.DueQuery, "placement" | "orphans">
  ) => Effect.Effect<void, Storage.StorageError, unknown>
): Effect.Effect<void, Storage.StorageError, unknown> => {
  let lookedAt = Number.NEGATIVE_INFINITY
  const takeOrphans = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    // A clock that was set back must not keep it from looking.
    if (!state.hasPlaces || Math.abs(now - lookedAt) < sweepMillis) return Effect.void
    lookedAt = now
    return takeDueRuns({ orphans: true })
  })
  const takeOwn = shards.claim((placement) => {
    if (placement.owned.length > 0) return takeDueRuns({ placement })
    state.hasPlaces = true
    return Effect.void
  })
  return Effect.suspend(() => {
    shards.refresh()
    return Effect.zipRight(shards.endLeasesOfOthers(storage), Effect.zipRight(takeOwn, takeOrphans))
  })
}

/** Follows the placement, if there is one. */
const makeShards = (
  storage: Storage.Service,
  state: WorkerState,
  { drainMillis, placement }: Settings,
  changed: Pulse
): Effect.Effect<OwnShards | undefined, never, Scope.Scope> =>
  placement === undefined
    ? Effect.succeed(undefined)
    : OwnShards.make({
        placement,
        // A hint beside that of the store would be a second one.
        hint: storage.tellsOthers ? () => {} : (run) => placement.hint(run),
        drainMillis,
        onChange: (isLost) => {
          for (const run of [...state.stuck.keys()]) if (isLost(run)) state.stuck.delete(run)
          changed.notify()
        }
      })

/** Whether the store tells this process what others change. */
const isTold = ({ isPrivate, tellsOthers }: Storage.Service): boolean => tellsOthers && !isPrivate

/** When to look again without a change. A storage that only this process changes says when its next run is due. */
const nextSweep = (
  storage: Storage.Service,
  definitions: ReadonlyArray<AnyDefinition>,
  { sweepMillis }: Settings
): Effect.Effect<number, Storage.StorageError> => {
  if (!storage.isPrivate) return Effect.map(Clock.currentTimeMillis, (now) => now + sweepMillis)
  const untilNext = Effect.zipWith(storage.backlog, storage.now, (backlog, now) => {
    const times = backlog.map((one) => (isOneOf(definitions, one) ? one.next : undefined) ?? Number.POSITIVE_INFINITY)
    return Math.min(...times) - now
  })
  return Effect.zipWith(untilNext, Clock.currentTimeMillis, (pause, now) => now + pause)
}

const isOneOf = (
  definitions: ReadonlyArray<AnyDefinition>,
  { version, workflow }: Pick<Storage.Backlog, "version" | "workflow">
): boolean => definitions.some((one) => one.name === workflow && one.version === version)

/** Those that this worker still leaves, and those that it leaves alone for a while. */
const exceptedRuns = ({ running, stuck }: WorkerState, now: number): ReadonlyArray<string> => [
  ...running.keys(),
  ...[...stuck].flatMap(([id, { notBefore }]) => (notBefore > now ? [id] : []))
]

const modeOf = (state: WorkerState, { patience }: Settings, progressed: () => void): Mode => ({
  patience,
  isLeaving: () => state.leaving,
  onLeaving: () => () => {},
  within: undefined,
  heldAs: undefined,
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

/** Counts a run that stopped without an outcome. Outcomes are recorded by the run itself. */
const recordExit = (
  storage: Storage.Service,
  state: WorkerState,
  { id, workflow }: Storage.Run,
  exit: Exit.Exit<unknown, unknown>,
  mode: Mode
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const counted = state.stuck.get(id)
    const isFine = Exit.isSuccess(exit) || isExpected(exit.cause)
    if (mode.isLeaving() || (counted?.isCounted !== true && isFine)) return void state.stuck.delete(id)
    if (Exit.isSuccess(exit) || (yield* isOver(storage, id))) return void state.stuck.delete(id)
    const redactor = yield* Redaction
    const reason = redactor.text(prettyCause(exit.cause).split("\n")[0] ?? "unknown")
    yield* warnOfStops(state, id, addStop(state, { id, workflow }, reason, yield* Clock.currentTimeMillis))
  })

/** A run that stops once may continue at the next attempt. Warns at the second stop, the fourth, the eighth and so on. */
const warnOfStops = ({ stuck }: WorkerState, run: string, times: number): Effect.Effect<void> => {
  const { reason, workflow } = stuck.get(run) ?? { reason: "", workflow: "" }
  return times < 2 || !Number.isInteger(Math.log2(times))
    ? Effect.void
    : Effect.logWarning(
        `Run "${run}" of workflow "${workflow}" has stopped ${times} times without an outcome: ${reason}. The worker tries again in ${durationText(Duration.millis(backoff(times)))}.`
      )
}

/**
 * Counts a stop, and returns how many there are. A run that stopped before its body began did not ask for a backoff, so its
 * stop is counted here.
 */
const addStop = (
  { stuck }: WorkerState,
  { id, workflow }: Pick<Storage.Run, "id" | "workflow">,
  reason: string,
  now: number
): number => {
  const counted = stuck.get(id)
  const times = counted?.isCounted === true ? counted.times : (counted?.times ?? 0) + 1
  stuck.set(id, { workflow, times, reason, at: now, notBefore: now + backoff(times), isCounted: false })
  return times
}

/** The run has an outcome or is on hold: this worker does not try it again, so it is not stuck. */
const isOver = (storage: Storage.Service, id: string): Effect.Effect<boolean> =>
  Effect.orElseSucceed(
    Effect.map(
      storage.find(id),
      Option.exists(({ hold, outcome }) => outcome !== undefined || hold !== undefined)
    ),
    () => false
  )

/** How many stuck runs one call of `health` looks at. */
const maxLooked = 20

/**
 * A run that was stuck here may have ended elsewhere, or be on hold. Looks at those that no look has seen for longest, so
 * that `health` costs the same however many are stuck.
 */
const forgetOver = (storage: Storage.Service, { stuck }: WorkerState): Effect.Effect<void> =>
  Effect.forEach(
    [...stuck.keys()].slice(0, maxLooked),
    (run) =>
      Effect.map(isOver(storage, run), (isOver) => {
        const known = stuck.get(run)
        stuck.delete(run)
        // It is looked at again after all others.
        if (!isOver && known !== undefined) stuck.set(run, known)
      }),
    { discard: true }
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
  { concurrency, queues: ownQueues, stalledMillis, sweepMillis }: Settings
): Effect.Effect<Omit<Health, "schedules">, Storage.StorageError> =>
  Effect.gen(function* () {
    const [backlog, counts] = [yield* storage.backlog, yield* storage.queues]
    yield* forgetOver(storage, state)
    const [now, storeNow] = [yield* Clock.currentTimeMillis, yield* storage.now]
    const isKnown = (one: Storage.Backlog) => isOneOf(definitions, one)
    const known = backlog.filter(isKnown)
    const oldest = Math.min(...known.map((one) => one.oldest ?? storeNow))
    const oldestDue = known.some(({ due }) => due > 0) ? Option.some(Duration.millis(storeNow - oldest)) : Option.none()
    const isSweeping =
      storage.isPrivate ||
      (state.sweptAt !== undefined && now - state.sweptAt <= Math.max(stalledMillis, 3 * sweepMillis))
    const idleMillis = steadyMillis(yield* Effect.clock) - (state.progressAt ?? Number.NEGATIVE_INFINITY)
    // With places left, what is due waits for its queue, or for the owner of its shard.
    const waitsElsewhere = state.hasPlaces && (state.shards !== undefined || counts.some(({ due }) => due > 0))
    const isProgressing =
      idleMillis < stalledMillis ||
      waitsElsewhere ||
      !Option.exists(oldestDue, (age) => Duration.toMillis(age) >= stalledMillis)
    return {
      status: state.leaving ? "leaving" : isSweeping && isProgressing && state.trouble === undefined ? "ok" : "stalled",
      running: [...state.running].map(([run, { since, workflow }]) => ({ run, workflow, since: new Date(since) })),
      concurrency,
      due: known.reduce((sum, { due }) => sum + due, 0),
      held: known.reduce((sum, { held }) => sum + held, 0),
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
      shards: Option.map(Option.fromNullable(state.shards), ({ numbers }) => numbers),
      queues: queueHealth(counts, ownQueues, storeNow),
      sweptAt: dateOption(state.sweptAt),
      trouble: Option.fromNullable(state.trouble)
    }
  })
