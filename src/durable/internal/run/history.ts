import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Storage from "../../../storage/Storage.js"
import { ReplayMismatch, type RunError, RunMismatch, RunNotFound } from "../../RunError.js"
import { byCaller, type LiveRun } from "../execution/execution.js"
import * as Replays from "../execution/replay.js"
import { unmetAtEnd } from "../execution/replayOrder.js"
import { valueCodec } from "../journal/codec.js"
import { knownOf } from "../journal/journal.js"
import { inputOfRun } from "../rewind/fromOutside.js"
import { isAnswered } from "../step/answerStep.js"
import { type AnyDefinition, bodyOf, makeLive, readSteps } from "./execute.js"

/** A run with its whole journal, to be kept in a file. */
export const History = Schema.Struct({
  format: Schema.Literal(1),
  run: Schema.Struct({
    id: Schema.String,
    workflow: Schema.String,
    version: Schema.String,
    input: Schema.String,
    labels: Schema.Record({ key: Schema.String, value: Schema.String }),
    outcome: Schema.optional(
      Schema.Struct({ status: Schema.Literal("completed", "failed"), exit: Schema.String, at: Schema.Number })
    )
  }),
  journal: Schema.Array(
    Schema.Struct({
      seq: Schema.Number,
      kind: Schema.String,
      step: Schema.String,
      attempt: Schema.Number,
      at: Schema.Number,
      payload: Schema.optional(Schema.String)
    })
  )
})

export type History = typeof History.Type

export const history = Effect.fnUntraced(function* (id: string) {
  const storage = yield* Storage.Storage
  const found = yield* storage.find(id)
  if (Option.isNone(found)) return yield* new RunNotFound({ run: id })
  const { input, key, labels, outcome, version, workflow } = found.value
  const journal = yield* storage.journal(key)
  return { format: 1, run: { id, workflow, version, input, labels, outcome }, journal } satisfies History
})

/** How far a program came with a journal, without running anything. */
export interface Replayed {
  /** Steps that were answered. */
  readonly answered: number
  /** `open`: the journal ends before the program does. */
  readonly end: "completed" | "failed" | "open"
}

/** Runs the body against a journal; nothing is begun. */
export const replay = (definition: AnyDefinition, { journal, run }: History) =>
  Effect.scoped(
    Effect.gen(function* () {
      if (run.workflow !== definition.name) {
        const { id, workflow } = run
        return yield* new RunMismatch({ run: id, field: "workflow", recorded: workflow, given: definition.name })
      }
      const storage = yield* Storage.make(Storage.memoryStore(), { owner: "replay" })
      const opened = yield* storage.open(run, (effect) => effect)
      // A new run in a store of its own is always created.
      if (opened._tag !== "Created") return yield* Effect.die("the store was not empty")
      // JSON drops what is undefined.
      yield* storage.append(
        opened.lease,
        journal.map((entry) => ({ ...entry, payload: entry.payload }))
      )
      const input = yield* inputOfRun(definition, opened.run)
      const known = yield* readSteps(storage, opened.lease)
      const how = { ...byCaller, isReplay: true }
      const live = yield* makeLive(storage, definition, run.id, opened.lease, known, how)
      const exit = yield* replayed(live, bodyOf(live, definition, input))
      if (live.stopped !== undefined) return yield* live.stopped
      if (run.outcome !== undefined && exit === undefined) return yield* beyondTheEnd(run)
      // A defect leaves a run open, as it does when it is executed.
      if (exit === undefined || (Exit.isFailure(exit) && Cause.isDie(exit.cause))) {
        return { answered: answeredOf(live), end: "open" } satisfies Replayed
      }
      const mismatch = unmetAtEnd(live) ?? (yield* otherOutcome(definition, run, exit))
      if (mismatch !== undefined) return yield* mismatch
      return { answered: answeredOf(live), end: Exit.isSuccess(exit) ? "completed" : "failed" } satisfies Replayed
    })
  ) as Effect.Effect<Replayed, RunError, unknown>

/** The run has ended, and the program wants more of it. */
const beyondTheEnd = ({ id, outcome }: History["run"]) =>
  new ReplayMismatch({
    run: id,
    reason: "Unexpected",
    recorded: `the end of the run, ${outcome?.status}`,
    found: "something after it"
  })

const answeredOf = ({ journal, replays }: LiveRun): number => {
  const [replay] = replays
  return [...journal.steps.values()].filter((record) => isAnswered(record) && replay?.missing.has(record.step) !== true)
    .length
}

/** Up to the end of the body, or as far as the journal goes. */
const replayed = (live: LiveRun, body: Effect.Effect<unknown, unknown, unknown>) =>
  Effect.gen(function* () {
    const replay = Replays.make("", knownOf(live.journal))
    live.replays.add(replay)
    const fiber = yield* Effect.fork(body)
    live.halt = () => fiber.unsafeInterruptAsFork(FiberId.none)
    yield* Replays.settle(replay, fiber)
    // What needs nobody else comes to its end by itself.
    yield* Replays.turns(fiber, () => false)
    const exit = fiber.unsafePoll()
    yield* Fiber.interrupt(fiber)
    return exit ?? undefined
  })

/** A run that has ended ends with the same status, and with the same value. */
const otherOutcome = (definition: AnyDefinition, run: History["run"], exit: Exit.Exit<unknown, unknown>) =>
  Effect.gen(function* () {
    if (run.outcome === undefined) return undefined
    const { status } = run.outcome
    const ended = Exit.isSuccess(exit) ? "completed" : "failed"
    const text = Exit.isSuccess(exit) ? yield* valueCodec(definition.success).encode(exit.value) : run.outcome.exit
    if (ended === status && (text ?? "") === run.outcome.exit) return undefined
    const recorded = `the outcome ${status}: ${run.outcome.exit.slice(0, 200)}`
    return new ReplayMismatch({
      run: run.id,
      reason: "Shape",
      recorded,
      found: `${ended}: ${(text ?? "").slice(0, 200)}`
    })
  })
