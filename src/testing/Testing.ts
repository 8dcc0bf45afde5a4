/**
 * For tests of your own workflows: crashes at every durable write, injected
 * faults, a ledger of the effects that happened, and the contract that every
 * storage must fulfil.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Attempt } from "../durable/Step.js"
import { Injected, type Replayed as ReplayedHistory, replay as replayHistory } from "../durable/TestHooks.js"
import * as Workflow from "../durable/Workflow.js"
import * as Storage from "../storage/Storage.js"
import { type CrashPoint, crashing, dead, describe, makeCrasher, working } from "./internal/crashing.js"
import { describeExit, outcomeOf, runId, whileLeaseIsHeld } from "./internal/observe.js"
import { awaitExit, type Stuck, underVirtualClock, type VirtualClock } from "./internal/testClock.js"
import * as Ledger from "./Ledger.js"
import * as Scorecard from "./Scorecard.js"

/** @since 0.1.0 */
export * from "./killEverywhere.js"
/** @since 0.1.0 */
export * from "./storageContract.js"

/**
 * Runs a workflow against the exported journal of a run (`Workflow.history`),
 * for a test of changed code. Runs no step and writes nothing. Fails with
 * `ReplayMismatch` where the program diverges from the journal.
 *
 * @example
 * ```ts
 * import { Step, Storage, Workflow } from "effect-recovery"
 * import { Testing } from "effect-recovery/testing"
 * import { Effect, Schema } from "effect"
 *
 * const step = (name: string) => Step.make(name, { success: Schema.String, run: Effect.succeed(name) })
 * const before = Workflow.make("flow", { success: Schema.String }, () => step("fetch"))
 * const after = Workflow.make("flow", { success: Schema.String }, () => step("load"))
 *
 * Effect.gen(function* () {
 *   yield* Workflow.execute(before, { id: "1" })
 *   const history = yield* Workflow.history("1")
 *   console.log(yield* Testing.replay(before, history)) // { answered: 1, end: 'completed' }
 *   console.log((yield* Effect.flip(Testing.replay(after, history)))._tag) // ReplayMismatch
 * }).pipe(Effect.provide(Storage.layerMemory), Effect.runPromise)
 * ```
 *
 * @since 0.1.0
 * @category replaying
 */
export const replay = <Input, A, E, R>(
  workflow: Workflow.Workflow<Input, A, E, R, unknown>,
  history: Workflow.History
): Effect.Effect<Replayed, Workflow.RunError, R> =>
  // The body has the requirements of the workflow.
  replayHistory(workflow.definition, history) as Effect.Effect<Replayed, Workflow.RunError, R>

/**
 * How far a program followed a journal.
 *
 * @since 0.1.0
 * @category replaying
 */
export interface Replayed extends ReplayedHistory {}

/**
 * Injects faults: by step name, the errors of its attempts in order (`undefined`
 * lets an attempt run), or a function of the attempt. The step's schema must cover
 * the errors.
 *
 * @example
 * ```ts
 * import { RetryPolicy, Step, Storage, Workflow } from "effect-recovery"
 * import { Testing } from "effect-recovery/testing"
 * import { Effect, Schema } from "effect"
 *
 * class Offline extends Schema.TaggedError<Offline>()("Offline", {}) {}
 *
 * const fetch = Step.make("fetch", {
 *   success: Schema.String,
 *   error: Offline,
 *   run: Effect.succeed("page"),
 *   retry: RetryPolicy.fixed({ maxRetries: 2, delay: 0 })
 * })
 * const Crawl = Workflow.make("crawl", { success: Schema.String, error: Offline }, () => fetch)
 *
 * Workflow.execute(Crawl, { id: "1" }).pipe(
 *   Effect.provide(Testing.faults({ fetch: [new Offline(), new Offline()] })),
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then(console.log) // page
 * ```
 *
 * @since 0.1.0
 * @category faults
 */
export const faults = (plan: FaultPlan): Layer.Layer<Faults> => Layer.sync(Injected, () => injectorOf(plan))

/**
 * The service of {@link faults}. Workflows use it if it is provided.
 *
 * @since 0.1.0
 * @category faults
 */
export type Faults = Injected

/**
 * @since 0.1.0
 * @category faults
 */
export type FaultPlan = Readonly<Record<string, ReadonlyArray<unknown> | ((attempt: Attempt) => unknown)>>

const injectorOf = (plan: FaultPlan): Injected["Type"] => {
  const attempts = new Map<string, number>()
  return (step, attempt) =>
    Effect.suspend(() => {
      const planned = Object.hasOwn(plan, step) ? plan[step] : undefined
      const number = attempts.get(step) ?? 0
      attempts.set(step, number + 1)
      const fault = typeof planned === "function" ? planned(attempt) : planned?.[number]
      return fault === undefined ? Effect.void : Effect.fail(fault)
    })
}

/**
 * @since 0.1.0
 * @category crashes
 */
export interface CrashOptions<Input, R, E2> {
  readonly input: Input
  /**
   * The services of the workflow, built for each process. Keep in the ledger what
   * must outlive a process.
   */
  readonly services?: Layer.Layer<Exclude<R, Ledger.Ledger>, E2, Ledger.Ledger> | undefined
  /** The store of the runs. Defaults to memory. */
  readonly store?: Effect.Effect<Storage.Store, E2, Scope.Scope> | undefined
  /** The lease of the processes in milliseconds, at least 1. Defaults to 30,000. */
  readonly lease?: number | undefined
  /** Called when the run waits, to send its signals. The run is then executed again. */
  readonly onSuspended?:
    | ((suspended: Workflow.RunSuspended) => Effect.Effect<void, unknown, Storage.Storage>)
    | undefined
}

/**
 * Executes a workflow once without a crash, then once for each side of each of
 * its durable writes, in a process that ends there. Another process resumes the
 * run, and the results are compared: which effects happened too often or not at
 * all, which compensations were missed or doubled, and whether the outcome is the
 * same. A process here is a fiber with its own storage service, under a test
 * clock.
 *
 * The steps of the workflow record their effects with `Ledger.done` and
 * `Ledger.undone`.
 *
 * @since 0.1.0
 * @category crashes
 */
export const crashEverywhere = <Input, A, E, R, E2 = never>(
  workflow: Workflow.Workflow<Input, A, E, R, unknown>,
  options: CrashOptions<Input, R, E2>
): Effect.Effect<Scorecard.Scorecard, E2 | NoOutcome | Stuck | Storage.StorageError> =>
  underVirtualClock((clock) => walk(workflow, options, clock))

/** Every crash point of the workflow. */
const walk = <Input, A, E, R, E2>(
  workflow: Workflow.Workflow<Input, A, E, R, unknown>,
  options: CrashOptions<Input, R, E2>,
  clock: VirtualClock
) =>
  Effect.gen(function* () {
    const undisturbed = yield* observe(workflow, options, undefined, clock)
    // A run without an outcome could not be compared with others.
    if (!undisturbed.finished) return yield* new NoOutcome({ outcome: undisturbed.outcome })
    let card = Scorecard.empty
    for (const when of ["before", "after"] as const) {
      for (let write = 1; ; write++) {
        const observed = yield* observe(workflow, options, { write, when }, clock)
        if (!observed.crashed) break
        card = Scorecard.add(card, describe({ write, when }), undisturbed, observed)
      }
    }
    return card
  })

/**
 * The workflow has no outcome even without a crash, so there is nothing to compare
 * with. It dies, or a service is missing.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoOutcome extends Data.TaggedError("NoOutcome")<{
  /** The result of its execution. */
  readonly outcome: string
}> {
  override get message(): string {
    return `The workflow has no outcome even without a crash: ${this.outcome}. Check that it completes and that its services are provided.`
  }
}

/** One run, crashed at the point if there is one, and then resumed by another process. */
const observe = <Input, A, E, R, E2>(
  workflow: Workflow.Workflow<Input, A, E, R, unknown>,
  options: CrashOptions<Input, R, E2>,
  point: CrashPoint | undefined,
  clock: VirtualClock
): Effect.Effect<
  Scorecard.Observation & { readonly crashed: boolean; readonly finished: boolean },
  E2 | Stuck | Storage.StorageError
> =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = working(yield* options.store ?? Effect.sync(Storage.memoryStore), clock)
      const ledger = yield* Ledger.make
      const first = makeCrasher(point, dead)
      // A dead process has no further effects.
      const dying: Ledger.Service = { ...ledger, add: (line) => first.other(ledger.add(line)) }
      const exit = yield* runProcess(workflow, options, dying, crashing(store, first), first.isDead, "first", clock)
      // A dead process does not renew its lease. After the lease, another one claims the run.
      if (exit === undefined) yield* clock.advance(options.lease ?? 30_000)
      const last = exit ?? (yield* runProcess(workflow, options, ledger, store, () => false, "second", clock))
      const run = Option.getOrThrow(yield* store.find(runId))
      return {
        crashed: first.isDead(),
        finished: run.outcome !== undefined,
        outcome: outcomeOf(run, last === undefined ? "none" : describeExit(last)),
        ledger: yield* ledger.lines,
        journal: yield* store.journal(run.key)
      }
    })
  )

/** Executes the run in one process. */
const runProcess = <Input, A, E, R, E2>(
  workflow: Workflow.Workflow<Input, A, E, R, unknown>,
  { input, lease = 30_000, onSuspended, services }: CrashOptions<Input, R, E2>,
  ledger: Ledger.Service,
  store: Storage.Store,
  isDead: () => boolean,
  owner: string,
  clock: VirtualClock
): Effect.Effect<Exit.Exit<A, unknown> | undefined, E2 | Stuck, Scope.Scope> =>
  Effect.gen(function* () {
    const storage = Layer.scoped(Storage.Storage, Storage.make(store, { owner, lease }))
    // Without services, the workflow requires only the ledger.
    const needs = (services ?? Layer.empty) as Layer.Layer<Exclude<R, Ledger.Ledger>, E2, Ledger.Ledger>
    const all = Layer.provideMerge(Layer.merge(storage, needs), Layer.succeed(Ledger.Ledger, ledger))
    const context = yield* Layer.build(all)
    // A request may omit the input only if the workflow has none, and then `input` is undefined.
    const request = { id: runId, input } as unknown as Workflow.Request<Input>
    const answered = executeAnswering(Workflow.execute(workflow, request), onSuspended)
    const program = whileLeaseIsHeld(answered, "5 seconds")
    // The layers provide all requirements of the workflow.
    const provided = Effect.provide(program, context as Context.Context<R | Storage.Storage>)
    const fiber = yield* Effect.forkDaemon(provided)
    return yield* awaitExit(fiber, isDead, clock)
  })

/** Executes the run again after each call of `onSuspended`. */
const executeAnswering = <A, E, R>(
  execute: Effect.Effect<A, E, R>,
  onSuspended: CrashOptions<never, never, never>["onSuspended"]
): Effect.Effect<A, E, R | Storage.Storage> =>
  onSuspended === undefined
    ? execute
    : Effect.catchAll(
        execute,
        (error): Effect.Effect<A, E, R | Storage.Storage> =>
          error instanceof Workflow.RunSuspended
            ? Effect.zipRight(Effect.ignore(onSuspended(error)), executeAnswering(execute, onSuspended))
            : Effect.fail(error)
      )
