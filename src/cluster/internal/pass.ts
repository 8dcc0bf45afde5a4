import type * as Activity from "@effect/workflow/Activity"
import type * as DurableClock from "@effect/workflow/DurableClock"
import type * as DurableDeferred from "@effect/workflow/DurableDeferred"
import * as Workflow from "@effect/workflow/Workflow"
import { WorkflowInstance } from "@effect/workflow/WorkflowEngine"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { isToCancel } from "../../durable/internal/execution/control.js"
import * as Execution from "../../durable/internal/execution/execution.js"
import * as FiberTree from "../../durable/internal/execution/fiberTree.js"
import { acceptDivergence } from "../../durable/internal/execution/replayOrder.js"
import { define } from "../../durable/internal/step/definition.js"
import { runStep } from "../../durable/internal/step/runStep.js"
import { dateOption, finiteTime, signalKey, waitingOf } from "../../durable/internal/wait/resolve.js"
import { recordEnd, recordStart } from "../../durable/internal/wait/wait.js"
import { tryReadSignals } from "../../durable/internal/wait/watcher.js"
import { RunSuspended, type Waiting } from "../../journal/RunError.js"
import { escapeName } from "../../resilience/Key.js"
import { activityError, toExit, toFailure } from "./outcome.js"

/** The signal that interrupts a run. */
export const interruptSignal = signalKey("Workflow/InterruptSignal", undefined)

/** Wakes a run as often as it is sent. */
export const resumeSignal = ({ signals }: { readonly signals: number }): string =>
  signalKey("Workflow/Resume", String(signals))

export const deferredSignal = (name: string): string => signalKey(name, undefined)

/**
 * One pass over a stock workflow. Stock code asks for results by name: it may leave
 * out what it had asked for before, since the winner of a race is kept.
 */
interface Pass {
  readonly startedAt: number
  readonly instance: WorkflowInstance["Type"]
  /** Results of this pass, by activity and attempt. */
  readonly results: Map<string, Effect.Effect<Workflow.Result<unknown, unknown>>>
  /** Deferreds that were asked for and are not done. */
  readonly waits: Map<string, Waiting>
  /** When the clocks of the run ring that have not rung before this pass. */
  readonly clocks: Map<string, number>
  /** When to look again for a child that another parent has started. */
  lookAt: number | undefined
}

const passes = new WeakMap<Execution.Execution, Pass>()

/** The body of a run: one pass, which ends with the result of the workflow or suspends the run. */
export const runPass = (
  workflow: Workflow.Any,
  execute: (id: string) => Effect.Effect<unknown, unknown, WorkflowInstance>
): Effect.Effect<unknown, unknown, Execution.Run> =>
  Effect.gen(function* () {
    const { execution, id } = yield* Execution.currentRun
    if (isToCancel(execution)) return yield* cancel(execution)
    const instance = instanceOf(workflow, id, execution)
    const clocks = new Map<string, number>()
    for (const { about, end, kind, until } of execution.journal.waits.values()) {
      if (kind === "sleep" && end === undefined && until !== undefined) clocks.set(about, until)
    }
    const startedAt = yield* execution.clock.currentTimeMillis
    const pass: Pass = { startedAt, instance, results: new Map(), waits: new Map(), clocks, lookAt: undefined }
    passes.set(execution, pass)
    execution.activity.signalsHeard = new Set()
    acceptDivergence(execution)
    execution.replay.gate.pending.clear()
    execution.replay.gate.isOpen = true
    const result = yield* Effect.suspend(() => execute(id)).pipe(
      Effect.onExit((exit) => interruptIfAsked(execution, instance, exit)),
      Workflow.intoResult,
      Effect.provideService(WorkflowInstance, instance)
    )
    return result._tag === "Suspended"
      ? yield* suspend(execution, pass, result)
      : yield* Exit.mapErrorCause(result.exit, (cause) => Cause.fail(toFailure(cause)))
  })

/** Its scope holds the compensations of the workflow: they run when the workflow fails, and not when its process leaves. */
const instanceOf = (workflow: Workflow.Any, id: string, { lifecycle }: Execution.Execution) => {
  const instance = WorkflowInstance.initial(workflow, id)
  // The types of Effect leave out how a scope is closed: `Scope.close` calls this method.
  const scope = instance.scope as Closing
  const close: Closing["close"] = (exit) =>
    lifecycle.isClosing || lifecycle.stopError !== undefined ? Effect.void : scope.close(exit)
  // What the scope has beside is found on its prototype.
  return { ...instance, scope: Object.assign(Object.create(scope) as Closing, { close }) }
}

interface Closing extends Scope.CloseableScope {
  readonly close: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
}

/** A run that is to be interrupted is so once it would wait. */
const interruptIfAsked = (
  execution: Execution.Execution,
  instance: WorkflowInstance["Type"],
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> => {
  const suspendsOnFailure = Context.get(instance.workflow.annotations, Workflow.SuspendOnFailure)
  // A workflow that has ended by itself keeps its result.
  if (!instance.suspended && !(suspendsOnFailure && Exit.isFailure(exit))) return Effect.void
  return Effect.flatMap(readSignal(execution, interruptSignal), (asked) => {
    if (asked === undefined) return Effect.void
    instance.suspended = false
    instance.interrupted = true
    return Effect.withFiberRuntime<void>((fiber) => {
      fiber.unsafeInterruptAsFork(fiber.id())
      return Effect.interruptible(Effect.yieldNow())
    })
  })
}

/** The run ends as cancelled. Its compensations are finalizers of the program, which run when it fails by itself. */
const cancel = ({ lifecycle }: Execution.Execution): Effect.Effect<never> =>
  Effect.zipRight(
    Effect.sync(() => lifecycle.transition({ _tag: "Cancel" })),
    Effect.interrupt
  )

const suspend = (
  execution: Execution.Execution,
  { clocks, lookAt, startedAt, waits }: Pass,
  { cause }: Workflow.Suspended
): Effect.Effect<never> => {
  if (isToCancel(execution)) return cancel(execution)
  // A clock that had rung before has been heard.
  const times = [...clocks.values(), ...(lookAt === undefined ? [] : [lookAt])].filter((time) => time > startedAt)
  const until = dateOption(times.length === 0 ? undefined : Math.min(...times))
  const failed = cause === undefined ? [] : [waitFor(`resume after: ${Cause.pretty(cause).split("\n")[0]}`, startedAt)]
  return Execution.stop(
    execution,
    new RunSuspended({ run: execution.id, waits: [...waits.values(), ...failed], until })
  )
}

const waitFor = (about: string, since: number): Waiting => ({
  id: about,
  kind: "signal",
  about,
  to: Option.none(),
  fault: Option.none(),
  parameters: [],
  refused: Option.none(),
  since: new Date(since),
  until: Option.none()
})

/** The payload of a signal that was sent to the run. Stops the run if the storage fails. */
const readSignal = (execution: Execution.Execution, key: string): Effect.Effect<string | undefined> =>
  Effect.suspend(() => {
    const { activity } = execution
    const known = () => {
      const payload = activity.signals.get(key)?.payload
      if (payload !== undefined) activity.signalsHeard?.add(key)
      return payload
    }
    const payload = known()
    if (payload !== undefined) return Effect.succeed(payload)
    return Effect.flatMap(tryReadSignals(execution), (isRead) => (isRead ? Effect.sync(known) : Effect.interrupt))
  })

// ---- activities

/** The activity waits for a deferred, a clock or a child: it begins again in the next pass. */
class Unfinished {
  readonly result: Workflow.Suspended
  constructor(result: Workflow.Suspended) {
    this.result = result
  }
}

type Result = Workflow.Result<unknown, unknown>

/** Uses an activity as a step, once for each of its attempts. */
export const activityExecute = (
  activity: Activity.Any,
  attempt: number
): Effect.Effect<Result, never, WorkflowInstance> =>
  inPass((_, pass, fiber) => {
    // An activity inside of another one is a part of it.
    if (FiberTree.stepOf(fiber) !== undefined) return executeActivity(activity, pass.instance)
    const key = `${activity.name}\0${attempt}`
    const known = pass.results.get(key)
    if (known !== undefined) return known
    // An activity has the context of the fiber that uses it.
    const executed = executeStep(activity, attempt, pass.instance) as Effect.Effect<Result>
    return Effect.flatMap(Effect.cached(executed), (cached) => {
      pass.results.set(key, cached)
      return cached
    })
  })

/** In an instance of its own: it suspends and fails alone. */
const executeActivity = (activity: Activity.Any, { executionId, interrupted, workflow }: WorkflowInstance["Type"]) =>
  Effect.suspend(() => {
    const instance = WorkflowInstance.initial(workflow, executionId)
    instance.interrupted = interrupted
    return Effect.provideService(Workflow.intoResult(activity.executeEncoded), WorkflowInstance, instance)
  })

const executeStep = (activity: Activity.Any, attempt: number, instance: WorkflowInstance["Type"]) => {
  const run = Effect.flatMap(executeActivity(activity, instance), (result) => {
    if (result._tag === "Suspended") return Effect.fail(new Unfinished(result))
    return Exit.isSuccess(result.exit) ? result.exit : Effect.fail(toFailure(result.exit.cause))
  })
  const name = attempt === 1 ? activity.name : `${activity.name} (attempt ${attempt})`
  const made = define(name, {
    success: Schema.Unknown,
    error: activityError,
    run,
    // Stock activities run at least once, and nothing decides by a start of theirs.
    startMarker: "with-result",
    maxCutShort: Number.POSITIVE_INFINITY
  })
  const step = { ...made, isUnfinished: (error: unknown) => error instanceof Unfinished }
  return Effect.matchCauseEffect(runStep(step, undefined), {
    onSuccess: (value): Effect.Effect<Result> => Effect.succeed(new Workflow.Complete({ exit: Exit.succeed(value) })),
    onFailure: (cause): Effect.Effect<Result> => {
      const error = Option.getOrUndefined(Cause.failureOption(cause))
      if (error instanceof Unfinished) return Effect.succeed(error.result)
      // Without a recorded failure the run has stopped, or the program interrupts the activity.
      return Cause.isFailure(cause)
        ? Effect.succeed(new Workflow.Complete({ exit: toExit(Exit.failCause(cause)) }))
        : // It has no failure.
          Effect.failCause(cause as Cause.Cause<never>)
    }
  })
}

// ---- deferreds and clocks

const ExitText = Schema.parseJson(
  Schema.Exit({ success: Schema.Unknown, failure: Schema.Unknown, defect: Schema.Defect })
)

/** An exit whose values are encoded, as text. */
export const exitText = Schema.encode(ExitText)
const exitOf = Schema.decode(ExitText)

/** Deferreds that were done before their run was known. */
export const earlyKind = "workflow-deferred"
export const earlyId = (executionId: string, deferred: string): string => `${executionId}/${deferred}`

const clockPrefix = "DurableClock/"

export const deferredResult = (deferred: DurableDeferred.Any) =>
  inPass((execution, pass) =>
    Effect.gen(function* () {
      const { name } = deferred
      if (name.startsWith(clockPrefix) && (yield* hasRung(execution, pass, name.slice(clockPrefix.length)))) {
        return Exit.void
      }
      const payload = (yield* readSignal(execution, deferredSignal(name))) ?? (yield* takeEarly(execution, name))
      if (payload !== undefined) return yield* Effect.orDie(exitOf(payload))
      if (!pass.waits.has(name)) pass.waits.set(name, waitFor(name, pass.startedAt))
      return undefined
    })
  )

/** A deferred that was done before the run began becomes a signal of the run, unless it was done once more meanwhile. */
const takeEarly = (execution: Execution.Execution, name: string) =>
  Effect.gen(function* () {
    const { id, storage } = execution
    const found = yield* storage.findRecord(earlyKind, earlyId(id, name))
    if (Option.isNone(found)) return undefined
    const key = deferredSignal(name)
    yield* storage.signal(id, key, found.value.body)
    yield* storage.removeRecords([found.value.key])
    return yield* readSignal(execution, key)
  }).pipe(Effect.orDie)

const hasRung = (execution: Execution.Execution, { clocks, waits }: Pass, name: string) =>
  Effect.gen(function* () {
    const key = clockKey(name)
    const record = execution.journal.waits.get(key)
    if (record?.end !== undefined) return true
    const until = clocks.get(name)
    if (until === undefined) return false
    const now = yield* execution.clock.currentTimeMillis
    if (now < until) {
      const line = { kind: "sleep", about: name, until, startedAt: now } as const
      waits.set(clockPrefix + name, waitingOf(execution.journal, key, line))
      return false
    }
    clocks.delete(name)
    yield* recordEnd(execution, key, { kind: "sleep", about: name }, {})
    return true
  })

const clockKey = (name: string): string => `clock/${escapeName(name)}`

/** Records when a clock rings, once. */
export const scheduleClock = ({ duration, name }: DurableClock.DurableClock) =>
  inPass((execution, { clocks }) => {
    const key = clockKey(name)
    if (clocks.has(name) || execution.journal.waits.has(key)) return Effect.void
    return Effect.flatMap(execution.clock.currentTimeMillis, (now) => {
      const until = now + Duration.toMillis(duration)
      clocks.set(name, until)
      return Effect.asVoid(recordStart(execution, key, { kind: "sleep", about: name, until: finiteTime(until) }, now))
    })
  })

/** The end of the child is a signal of this run. */
export const waitForChild = (id: string) =>
  inPass((_, { startedAt, waits }) =>
    Effect.sync(() => void waits.set(`child/${id}`, waitFor(`child ${id}`, startedAt)))
  )

/** Looks again after this time, since the end of a child of another parent wakes that one. */
export const lookAgainIn = (millis: number) =>
  inPass((execution, pass) =>
    Effect.map(execution.clock.currentTimeMillis, (now) => {
      pass.lookAt = Math.min(pass.lookAt ?? Number.POSITIVE_INFINITY, now + millis)
    })
  )

/** Code of a workflow runs inside of a pass; what it calls elsewhere is a bug of the program. */
const inPass = <A, E, R>(
  use: (
    execution: Execution.Execution,
    pass: Pass,
    fiber: Fiber.RuntimeFiber<unknown, unknown>
  ) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const run = Execution.runIn(fiber.currentContext)
    const pass = run === undefined ? undefined : passes.get(run.execution)
    if (run === undefined || pass === undefined) {
      return Effect.dieMessage("an activity, clock or deferred was used outside of the workflow that it belongs to")
    }
    // A fiber's types of failure are erased here.
    return use(run.execution, pass, fiber as Fiber.RuntimeFiber<unknown, unknown>)
  })
