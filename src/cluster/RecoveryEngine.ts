/**
 * Programs of `@effect/workflow` on the storage of this library: stock
 * workflows, activities, clocks and deferreds run as they are, and their runs are
 * seen and operated like all others.
 *
 * @since 0.1.0
 */
import type * as Workflow from "@effect/workflow/Workflow"
import { Complete, Suspended } from "@effect/workflow/Workflow"
import { makeUnsafe, WorkflowEngine, type WorkflowInstance } from "@effect/workflow/WorkflowEngine"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { byCaller } from "../durable/internal/execution/execution.js"
import type { AnyDefinition, AnyEffect } from "../durable/internal/run/advance.js"
import * as execute_ from "../durable/internal/run/execute.js"
import { makeWorker } from "../durable/internal/worker/worker.js"
import { encodeCanonical } from "../journal/JournalCodec.js"
import { isStop, RunCancelled, RunHeld, RunMismatch, RunQueued, RunSuspended } from "../journal/RunError.js"
import { millis, whole } from "../resilience/internal/kernel/options.js"
import * as Storage from "../storage/Storage.js"
import { errorSchema, toExit } from "./internal/outcome.js"
import * as pass from "./internal/pass.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The most runs of one workflow at once in this process, at least 1. Defaults to 10. */
  readonly concurrency?: number | undefined
  /**
   * How often it looks for due runs of other processes. Changes of its own
   * process start a look at once. At least 1 millisecond. Defaults to a second.
   */
  readonly sweep?: Duration.DurationInput | undefined
  /**
   * How long it waits for running activities when its scope closes. After that it
   * interrupts them; 0 interrupts them at once. Defaults to 10 seconds.
   */
  readonly drain?: Duration.DurationInput | undefined
}

interface Registered {
  readonly definition: AnyDefinition
}

/**
 * Runs stock workflows on `Storage`, and executes the runs of those that are
 * registered here, whichever process started them.
 *
 * Results of activities are recorded before they are used, as the steps of a
 * run. What waits for a deferred, a clock or a child workflow needs no memory. A
 * run is interrupted by the workflow's own `interrupt`, which runs its
 * compensations; `recovery cancel` ends it without them.
 *
 * @example
 * ```ts
 * import { Activity, Workflow } from "@effect/workflow"
 * import { Storage } from "effect-recovery"
 * import { RecoveryEngine } from "effect-recovery/workflow-engine"
 * import { Effect, Layer, Schema } from "effect"
 *
 * const Greet = Workflow.make({
 *   name: "greet",
 *   payload: { name: Schema.String },
 *   success: Schema.String,
 *   idempotencyKey: ({ name }) => name
 * })
 * const GreetLive = Greet.toLayer(({ name }) =>
 *   Activity.make({ name: "compose", success: Schema.String, execute: Effect.succeed(`hello ${name}`) })
 * )
 *
 * // In production SqliteStorage.layer or PgStorage.layer.
 * const live = GreetLive.pipe(
 *   Layer.provideMerge(RecoveryEngine.layer()),
 *   Layer.provideMerge(Storage.layerMemory)
 * )
 * Greet.execute({ name: "Ada" }).pipe(Effect.provide(live), Effect.runPromise).then(console.log) // hello Ada
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<WorkflowEngine, never, Storage.Storage> => {
  const settings = {
    concurrency: whole("concurrency", options.concurrency ?? 10, 1),
    queues: [],
    sweepMillis: millis("sweep", options.sweep ?? "1 second", 1),
    patience: 0,
    drainMillis: millis("drain", options.drain ?? "10 seconds"),
    stalledMillis: 60_000
  }
  return Layer.effect(
    WorkflowEngine,
    Effect.map(Storage.Storage, (storage) => make(storage, settings))
  )
}

const make = (storage: Storage.Service, settings: Parameters<typeof makeWorker>[1]): WorkflowEngine["Type"] => {
  const registered = new Map<string, Registered>()
  const here = Effect.provideService(Storage.Storage, storage)

  const signal = (run: string, key: string, payload: string) => Effect.orDie(storage.signal(run, key, payload))

  const engine: WorkflowEngine["Type"] = makeUnsafe({
    register: (workflow, execute) =>
      Effect.gen(function* () {
        const body = (payload: object, id: string) =>
          Effect.provideService(execute(payload, id), WorkflowEngine, engine)
        const definition = definitionOf(workflow, body)
        registered.set(workflow.name, { definition })
        yield* Effect.addFinalizer(() => Effect.sync(() => registered.delete(workflow.name)))
        yield* Effect.orDie(makeWorker([definition], settings))
        // `makeUnsafe` has given the body what it needs.
      }).pipe(here) as Effect.Effect<void, never, Scope.Scope>,

    execute: (workflow, { discard, executionId, parent, payload }) =>
      Effect.gen(function* () {
        const definition = registered.get(workflow.name)?.definition ?? definitionOf(workflow, undefined)
        const request = { id: executionId, input: payload }
        if (parent !== undefined) return yield* child(storage, definition, request, parent.executionId, discard)
        if (discard || !registered.has(workflow.name)) yield* enqueue(storage, definition, request, undefined)
        if (discard) return undefined
        const joined = execute_.join(definition, executionId)
        if (!registered.has(workflow.name)) return yield* settled(joined)
        // The payload is of the type that the definition takes.
        const executed: AnyEffect = execute_.execute(definition as never, request, byCaller)
        return yield* settled(Effect.catchAll(executed, (error) => (isElsewhere(error) ? joined : Effect.fail(error))))
        // What is answered depends on `discard`, which types cannot follow. Schemas have what they need from `makeUnsafe`.
      }).pipe(Effect.orDie, here) as never,

    poll: (workflow, executionId) =>
      Effect.gen(function* () {
        const run = Option.getOrUndefined(yield* storage.find(executionId))
        if (run?.outcome !== undefined) {
          return yield* settled(execute_.join(definitionOf(workflow, undefined), executionId))
        }
        const isSuspended = run !== undefined && run.owner === undefined && run.startedAt !== undefined
        return isSuspended ? new Suspended() : undefined
        // Schemas have what they need from `makeUnsafe`.
      }).pipe(Effect.orDie, here) as Effect.Effect<Workflow.Result<unknown, unknown> | undefined>,

    interrupt: (_, executionId) => Effect.asVoid(signal(executionId, pass.interruptSignal, "")),

    // Each one wakes the run, so each has a name of its own.
    resume: (_, executionId) =>
      Effect.flatMap(Effect.orDie(storage.find(executionId)), (run) =>
        Option.isNone(run) ? Effect.void : Effect.asVoid(signal(executionId, pass.resumeSignal(run.value), ""))
      ),

    activityExecute: pass.activityExecute,
    deferredResult: pass.deferredResult,

    deferredDone: ({ deferredName, executionId, exit }) =>
      Effect.gen(function* () {
        const payload = yield* pass.exitText(exit)
        const key = pass.deferredSignal(deferredName)
        if ((yield* storage.signal(executionId, key, payload)) !== "Unknown") return
        const named = { kind: pass.earlyKind, id: pass.earlyId(executionId, deferredName), scope: executionId }
        const draft = { ...named, subject: "", status: "done", labels: {}, revision: 0, body: payload }
        const early = yield* storage.write(draft, [])
        // The run may have begun meanwhile.
        const isHeard = (yield* storage.signal(executionId, key, payload)) !== "Unknown"
        if (isHeard && Option.isSome(early)) yield* storage.removeRecords([early.value.key])
      }).pipe(Effect.orDie),

    scheduleClock: (_, { clock }) => pass.scheduleClock(clock)
  })
  return engine
}

/** A stock workflow as a workflow of this library. Without a body it only reads and writes its values. */
const definitionOf = (
  workflow: Workflow.Any,
  body: ((payload: object, id: string) => Effect.Effect<unknown, unknown, WorkflowInstance>) | undefined
): AnyDefinition => ({
  name: workflow.name,
  version: "1",
  input: workflow.payloadSchema,
  success: workflow.successSchema,
  error: errorSchema(workflow),
  // A definition without a body is not executed, and one with a body gets payloads of its schema.
  body: ((payload: object) => body && pass.runPass(workflow, (id) => body(payload, id))) as AnyDefinition["body"]
})

/** The run is advanced by a worker, or was started with a payload that differs in what the idempotency key leaves out. */
const isElsewhere = (error: unknown): boolean => elsewhere.some((Class) => error instanceof Class)

const elsewhere = [Storage.LeaseHeld, RunHeld, RunMismatch, RunQueued, RunSuspended]

/** The recorded result. The types of the engine have no errors, so what is no result of the program ends the caller. */
const settled = (self: AnyEffect) =>
  Effect.matchCauseEffect(self, {
    onSuccess: (value) => Effect.succeed(new Complete<unknown, unknown>({ exit: Exit.succeed(value) })),
    onFailure: (cause) => {
      const error = Option.getOrUndefined(Cause.failureOption(cause))
      if (isStop(error) || error instanceof RunCancelled) return Effect.die(error)
      return Cause.isFailure(cause)
        ? Effect.succeed(new Complete<unknown, unknown>({ exit: toExit(Exit.failCause(cause)) }))
        : // A run without a result has no typed failure.
          Effect.failCause(cause as Cause.Cause<never>)
    }
  })

const enqueue = (
  storage: Storage.Service,
  { input, name, version }: AnyDefinition,
  request: { readonly id: string; readonly input: object },
  parent: Storage.Parent | undefined
) =>
  Effect.flatMap(encodeCanonical(input, request.input), (text) =>
    storage.enqueue({ id: request.id, workflow: name, version, labels: {}, input: text, parent })
  )

/** Starts a child and looks for its outcome, which wakes its parent. */
const child = (
  storage: Storage.Service,
  definition: AnyDefinition,
  request: { readonly id: string; readonly input: object },
  parent: string,
  discard: boolean
) =>
  Effect.gen(function* () {
    const { run } = yield* enqueue(storage, definition, request, { run: parent, signal: `child:${request.id}` })
    if (discard) return undefined
    if (run.outcome !== undefined) {
      return yield* settled(execute_.join(definition, request.id))
    }
    yield* run.parent?.run === parent ? pass.waitForChild(request.id) : pass.lookAgainIn(1_000)
    return new Suspended()
  })
