import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { WaitRecord } from "../../../journal/Journal.js"
import {
  type ChildOutcome,
  decodeChildEnd,
  encodeChildEnd,
  encodeWait,
  type StartedWait
} from "../../../journal/JournalLine.js"
import { JournalError, ReplayMismatch, RunNotFound } from "../../../journal/RunError.js"
import { childMark } from "../../../resilience/Key.js"
import * as Storage from "../../../storage/Storage.js"
import { whileWorking } from "../execution/activity.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import { setOrigin } from "../execution/origins.js"
import * as Replay from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import type { AnyDefinition, AnyEffect } from "../run/advance.js"
import { adopt } from "../run/conclude.js"
import * as Run from "../run/execute.js"
import { awaitGate } from "../wait/gate.js"
import { recordStart } from "../wait/wait.js"
import { childIdAt, childIdOf } from "./childId.js"
import { leaveChild } from "./leave.js"
import { executed, found, obtain } from "./obtain.js"
import type { Child } from "./use.js"

/** The run in whose body a fiber is; undefined inside of a step, where another run is an ordinary effect. */
const bodyOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Execution.RunService | undefined => {
  const run = Execution.runIn(fiber.currentContext)
  return run === undefined || FiberTree.stepOf(fiber) !== undefined ? undefined : run
}

/** Takes one way in the body of a run, and the other one everywhere else. */
export const orInBody = (ordinary: AnyEffect, inBody: (run: Execution.RunService) => AnyEffect): AnyEffect =>
  Effect.withFiberRuntime((fiber) => {
    const run = bodyOf(fiber)
    return run === undefined ? ordinary : inBody(run)
  })

/** The id of the child with this name at this point of the program. */
export const childIdIn = (run: Execution.RunService, name: string): string =>
  childIdAt(run.execution, Execution.baseKey(run, name))

// ---- executing, starting and joining a child

/** Executes a child run, and waits for its outcome. */
export const executeChild = (
  run: Execution.RunService,
  definition: AnyDefinition,
  { id: name, input, labels }: Run.Request<unknown>
): AnyEffect =>
  use(run, name, { definition, use: "execute", id: childIdIn(run, name), input, labels }, (child, record) =>
    waitFor(child, record, obtain(child, record !== undefined, executed(child)))
  )

/** Waits for the outcome of a child run, which other processes execute. */
export const joinChild = (run: Execution.RunService, definition: AnyDefinition, given: string): AnyEffect => {
  const own = `${run.id}/`
  const isId = given.startsWith(own)
  const [id, name] = isId ? [given, given.slice(own.length)] : [childIdIn(run, given), given]
  return use(run, name, { definition, use: "join", id, input: undefined, labels: undefined }, (child, record) =>
    waitFor(child, record, obtain(child, false, found(child)))
  )
}

/** Records a child run for the workers. */
export const startChild = (
  run: Execution.RunService,
  definition: AnyDefinition,
  { id: name, input, labels }: Run.Request<unknown>,
  recording: Run.Recording
): AnyEffect =>
  use(run, name, { definition, use: "start", id: childIdIn(run, name), input, labels }, (child, record) => {
    const { execution } = child
    const { id, parent } = child
    const started = Effect.provideService(
      Run.start(definition, { id, input, labels, parent }, recording),
      Storage.Storage,
      execution.storage
    )
    // The next execution starts it again if the line is missing, which changes nothing.
    const recorded = Effect.suspend(() => {
      const before =
        record === undefined
          ? [Execution.nextEntry(execution, "ChildStarted", child.key, 0, encodeWait(child.line))]
          : []
      const end = Execution.nextEntry(execution, "ChildEnded", child.key, 0, encodeChildEnd(undefined))
      return Execution.appendAll(execution, [...before, end])
    })
    return Effect.zipRight(
      gate(child, record),
      whileWorking(execution, Effect.zipRight(Execution.orStop(execution, started), recorded))
    )
  })

// ---- one use of a child

type Wanted = Pick<Child, "definition" | "use" | "id" | "input" | "labels">

/** Answers from the journal, or begins. */
const use = (
  run: Execution.RunService,
  name: string,
  wanted: Wanted,
  begin: (child: Child, record: WaitRecord | undefined) => AnyEffect
): AnyEffect =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) => {
    const { execution } = run
    const isRoot = Order.isRoot(fiber, runtimeFlags, execution)
    const isInterruptible = RuntimeFlags.interruptible(runtimeFlags)
    const branch = fiber.getFiberRef(FiberTree.current)
    const at = (key: string) => {
      const recorded = execution.journal.waits.get(key)?.child?.run
      const id = recorded === undefined ? wanted.id : childIdOf(execution, key, recorded)
      const signal = `child:${id}`
      const child = { run: id, workflow: wanted.definition.name, use: wanted.use }
      const line = { kind: "child", about: name, signal, child, root: isRoot || undefined } as const
      const parent = { run: execution.id, signal }
      return useAt({ ...wanted, id, execution, key, line, parent, branch, place: { isRoot, isInterruptible } }, begin)
    }
    return Execution.withKey(run, name, at, childMark)
  })

const useAt = (child: Child, begin: (child: Child, record: WaitRecord | undefined) => AnyEffect): AnyEffect => {
  const { execution, key, place } = child
  const record = execution.journal.waits.get(key)
  const isAnswered = record?.end !== undefined
  const mismatch = differentChild(child, record) ?? Order.check(execution, key, { isAnswered, isRoot: place.isRoot })
  if (mismatch !== undefined) return Execution.stop(execution, mismatch)
  if (record?.childEnd !== undefined) return answer(child, record, record.childEnd)
  return Execution.isReplayOnly(execution, key)
    ? Replay.park(execution.replay.active, key, record !== undefined)
    : begin(child, record)
}

/** The journal has a child of another workflow at this key, or another use of it. */
const differentChild = ({ execution, line }: Child, record: WaitRecord | undefined): ReplayMismatch | undefined => {
  if (record === undefined) return undefined
  const shown = ({ about, child }: Pick<Child["line"], "about" | "child">) =>
    `${child.use} of child "${about}" of workflow "${child.workflow}"`
  const { about, child, key } = record
  if (child === undefined) throw new Error(`the journal has no child at the key "${key}"`)
  const [recorded, found] = [shown({ about, child }), shown(line)]
  return recorded === found ? undefined : new ReplayMismatch({ run: execution.id, reason: "Shape", recorded, found })
}

const answer = (
  child: Child,
  { child: known, lastSeq }: WaitRecord,
  { omitted, payload }: NonNullable<WaitRecord["childEnd"]>
): AnyEffect => {
  const { execution, key, place } = child
  const text = omitted
    ? whileWorking(execution, Execution.orStop(execution, execution.storage.payload(execution.lease.key, lastSeq)))
    : Effect.succeed(payload)
  // A fork has the results of the children of the other run.
  const result = Effect.flatMap(text, (text) => deliver(child, decodeChildEnd(text), known?.run))
  return Effect.flatMap(Effect.exit(result), (exit) =>
    Effect.zipRight(Order.awaitReplayTurn(execution, key, lastSeq, place), exit)
  )
}

/** Returns or fails as the child did. */
const deliver = (child: Child, outcome: ChildOutcome | undefined, run = child.id): AnyEffect => {
  const { definition, execution, key, use } = child
  if (use === "start") return Effect.void
  if (outcome === undefined) return Effect.fail(new RunNotFound({ run }))
  return Effect.catchAllCause(adopt(definition, run, outcome), (cause) => {
    const error = Option.getOrUndefined(Cause.failureOption(cause))
    if (error instanceof JournalError) return Execution.stop(execution, error)
    setOrigin(execution, cause, key)
    return Effect.failCause(cause)
  })
}

const gate = ({ execution, place }: Child, record: WaitRecord | undefined): Effect.Effect<void> => {
  const open = awaitGate(execution, record?.interruptedAt)
  return place.isInterruptible || record?.interruptedAt !== undefined ? Effect.interruptible(open) : open
}

/** Records the start, waits, and records the outcome before the program sees it. */
const waitFor = (
  child: Child,
  record: WaitRecord | undefined,
  outcome: (started: StartedWait) => Effect.Effect<ChildOutcome | undefined, never, unknown>
): AnyEffect => {
  const { execution, key, line } = child
  let hasBegun = record !== undefined
  const started = Effect.suspend(() => {
    hasBegun = true
    if (record !== undefined) return Effect.succeed<StartedWait>({ ...line, startedAt: record.startedAt })
    return Effect.flatMap(execution.clock.currentTimeMillis, (now) => recordStart(execution, key, line, now))
  })
  return Effect.matchCauseEffect(Effect.flatMap(Effect.zipRight(gate(child, record), started), outcome), {
    onSuccess: (outcome) =>
      Effect.zipRight(
        recordEnd(child, outcome),
        Effect.suspend(() => deliver(child, outcome))
      ),
    onFailure: (cause) =>
      Effect.zipRight(
        Effect.suspend(() => (hasBegun ? leaveChild(child, record) : Effect.void)),
        Effect.failCause(cause)
      )
  })
}

const recordEnd = ({ execution, key }: Child, outcome: ChildOutcome | undefined): Effect.Effect<void> => {
  const entry = Execution.append(execution, "ChildEnded", key, 0, encodeChildEnd(outcome))
  return Execution.andEmit(
    execution,
    entry,
    (source) => ({ _tag: "WaitEnded", source, kind: "child", answered: true }),
    key
  )
}
