/**
 * For tests of your own workflows: crashes at every durable write, faults
 * where you want them, a ledger of what really happened, and the contract
 * every storage must fulfil.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import type { Attempt } from "../durable/Step.js"
import { Injected, type Replayed as ReplayedHistory, replay as replayHistory } from "../durable/TestHooks.js"
import * as Workflow from "../durable/Workflow.js"
import * as Storage from "../storage/Storage.js"
import { type CrashPoint, crashingStore, describe, makeCrasher } from "./internal/crashing.js"
import { outcomeOf, runId } from "./internal/observe.js"
import { type Stuck, settle } from "./internal/patience.js"
import { underTestClock } from "./internal/underTestClock.js"
import * as Ledger from "./Ledger.js"
import * as Scorecard from "./Scorecard.js"

export {
  /**
   * A child ended otherwise than it was to.
   *
   * @since 0.1.0
   * @category crashes
   */
  ChildFailed,
  /**
   * @since 0.1.0
   * @category crashes
   */
  type ChildOptions,
  /**
   * The program of the processes that `killEverywhere` kills.
   *
   * @since 0.1.0
   * @category crashes
   */
  child,
  /**
   * @since 0.1.0
   * @category crashes
   */
  type KillOptions,
  /**
   * As `crashEverywhere`, with real processes and a real SIGKILL.
   *
   * @since 0.1.0
   * @category crashes
   */
  killEverywhere
} from "./killEverywhere.js"

export {
  /**
   * What every storage must do, as checks for any test runner.
   *
   * @since 0.1.0
   * @category storage
   */
  storageContract
} from "./storageContract.js"

/**
 * Runs a workflow against the exported journal of a run (`Workflow.history`),
 * for a test of changed code. No step is run and nothing is written. Fails
 * with `ReplayMismatch` where the program takes another way than the journal.
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
  workflow: Workflow.Workflow<Input, A, E, R>,
  history: Workflow.History
): Effect.Effect<Replayed, Workflow.RunError, R> =>
  // The body needs what the workflow needs.
  replayHistory(workflow.definition, history) as Effect.Effect<Replayed, Workflow.RunError, R>

/**
 * How far a program came with a journal.
 *
 * @since 0.1.0
 * @category replaying
 */
export interface Replayed extends ReplayedHistory {}

/**
 * Goes wrong in place of a step's attempts: by step name, the errors of its
 * attempts in order (`undefined` lets one run), or a function of the attempt.
 * Give errors the step's schema can write.
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
export const faults = (plan: FaultPlan): Layer.Layer<Faults> => Layer.sync(Injected, () => follow(plan))

/**
 * What {@link faults} provides; workflows find it by themselves.
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

const follow = (plan: FaultPlan): Injected["Type"] => {
  const begun = new Map<string, number>()
  return (step, attempt) =>
    Effect.suspend(() => {
      const planned = Object.hasOwn(plan, step) ? plan[step] : undefined
      const number = begun.get(step) ?? 0
      begun.set(step, number + 1)
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
   * What the workflow needs, made anew for each process. What must outlive
   * them belongs into the ledger.
   */
  readonly services?: Layer.Layer<Exclude<R, Ledger.Ledger>, E2, Ledger.Ledger> | undefined
  /** Where runs are kept. Defaults to memory. */
  readonly store?: Effect.Effect<Storage.Store, E2, Scope.Scope> | undefined
  /** Of the processes. Defaults to 30 seconds. */
  readonly lease?: number | undefined
  /** Answers a run that waits, as somebody outside would; then it is executed again. */
  readonly onSuspended?:
    | ((suspended: Workflow.RunSuspended) => Effect.Effect<void, unknown, Storage.Storage>)
    | undefined
}

/**
 * Executes a workflow once undisturbed, and then once for each of its durable
 * writes and each side of it, in a process that ends right there. Another
 * process takes over, and what came of it is compared: which effects happened
 * too often or not at all, which compensations were missed or doubled, whether
 * the outcome is the same. A process here is a fiber with a storage service of
 * its own, under a test clock.
 *
 * The workflow's steps note what they do with `Ledger.done` and
 * `Ledger.undone`.
 *
 * @since 0.1.0
 * @category crashes
 */
export const crashEverywhere = <Input, A, E, R, E2 = never>(
  workflow: Workflow.Workflow<Input, A, E, R>,
  options: CrashOptions<Input, R, E2>
): Effect.Effect<Scorecard.Scorecard, E2 | NoOutcome | Stuck | Storage.StorageError> =>
  Effect.gen(function* () {
    const undisturbed = yield* observe(workflow, options, undefined)
    // Nothing would ever differ from a run that does not work at all.
    if (!undisturbed.finished) return yield* new NoOutcome({ outcome: undisturbed.outcome })
    let card = Scorecard.empty
    for (const when of ["before", "after"] as const) {
      for (let write = 1; ; write++) {
        const observed = yield* observe(workflow, options, { write, when })
        if (!observed.crashed) break
        card = Scorecard.add(card, describe({ write, when }), undisturbed, observed)
      }
    }
    return card
  }).pipe(underTestClock)

/**
 * The workflow does not end even if nobody disturbs it, so there is nothing to
 * compare with: it dies, or a service is missing.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoOutcome extends Data.TaggedError("NoOutcome")<{
  /** What its execution came to. */
  readonly outcome: string
}> {
  override get message(): string {
    return `The workflow has no outcome even if nobody disturbs it: ${this.outcome}. Make it work first; are its services provided?`
  }
}

/** One run, killed at a point if there is one and taken over by another process. */
const observe = <Input, A, E, R, E2>(
  workflow: Workflow.Workflow<Input, A, E, R>,
  options: CrashOptions<Input, R, E2>,
  point: CrashPoint | undefined
): Effect.Effect<
  Scorecard.Observation & { readonly crashed: boolean; readonly finished: boolean },
  E2 | Stuck | Storage.StorageError
> =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* options.store ?? Effect.sync(Storage.memoryStore)
      const ledger = yield* Ledger.make
      const first = makeCrasher(point, Effect.never)
      // What a dead process does is not done.
      const dying: Ledger.Service = { ...ledger, add: (line) => first.other(ledger.add(line)) }
      const exit = yield* live(workflow, options, dying, crashingStore(store, first), first.isDead, "first")
      // A dead process renews nothing: after its lease another one takes over.
      if (exit === undefined) yield* TestClock.adjust(options.lease ?? 30_000)
      const last = exit ?? (yield* live(workflow, options, ledger, store, () => false, "second"))
      const run = Option.getOrThrow(yield* store.find(runId))
      return {
        crashed: first.isDead(),
        finished: run.outcome !== undefined,
        outcome: outcomeOf(run, last),
        ledger: yield* ledger.lines,
        journal: yield* store.journal(run.key)
      }
    })
  )

/** One process. */
const live = <Input, A, E, R, E2>(
  workflow: Workflow.Workflow<Input, A, E, R>,
  { input, lease = 30_000, onSuspended, services }: CrashOptions<Input, R, E2>,
  ledger: Ledger.Service,
  store: Storage.Store,
  isDead: () => boolean,
  owner: string
): Effect.Effect<Exit.Exit<A, unknown> | undefined, E2 | Stuck, Scope.Scope> =>
  Effect.gen(function* () {
    const storage = Layer.scoped(Storage.Storage, Storage.make(store, { owner, lease }))
    // Without services the workflow needs nothing but the ledger.
    const needs = (services ?? Layer.empty) as Layer.Layer<Exclude<R, Ledger.Ledger>, E2, Ledger.Ledger>
    const all = Layer.provideMerge(Layer.merge(storage, needs), Layer.succeed(Ledger.Ledger, ledger))
    const context = yield* Layer.build(all)
    // The request of a workflow without an input may leave it out; this one never does.
    const request = { id: runId, input } as unknown as Workflow.Request<Input>
    const answered = answering(Workflow.execute(workflow, request), onSuspended)
    const program = Effect.retry(answered, {
      while: (error) => typeof error === "object" && error !== null && "_tag" in error && error._tag === "LeaseHeld",
      schedule: patience
    })
    // The layers hold what the workflow needs.
    const provided = Effect.provide(program, context as Context.Context<R | Storage.Storage>)
    const fiber = yield* Effect.forkDaemon(provided)
    return yield* settle(fiber, isDead)
  })

const patience = Schedule.spaced("5 seconds")

/** Executes again after each answer; what was answered before is answered no more. */
const answering = <A, E, R>(
  execute: Effect.Effect<A, E, R>,
  onSuspended: CrashOptions<never, never, never>["onSuspended"]
): Effect.Effect<A, E, R | Storage.Storage> =>
  onSuspended === undefined
    ? execute
    : Effect.catchAll(
        execute,
        (error): Effect.Effect<A, E, R | Storage.Storage> =>
          error instanceof Workflow.RunSuspended
            ? Effect.zipRight(Effect.ignore(onSuspended(error)), answering(execute, onSuspended))
            : Effect.fail(error)
      )
