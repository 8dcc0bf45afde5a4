import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Schema from "effect/Schema"
import { findRun } from "../../../journal/Journal.js"
import { valueCodec } from "../../../journal/JournalCodec.js"
import { ReplayMismatch, type RunError } from "../../../journal/RunError.js"
import { statusOfFailure } from "../../../journal/RunFailure.js"
import { OutcomeStatus } from "../../../journal/RunStatus.js"
import { hideSecrets } from "../../../journal/Secrets.js"
import { Redaction, type Redactor } from "../../../resilience/Redaction.js"
import { hasFailed } from "../../../storage/rows.js"
import * as Storage from "../../../storage/Storage.js"
import { byCaller, type Execution } from "../execution/execution.js"
import * as Replay from "../execution/replay.js"
import { missingAtEnd } from "../execution/replayOrder.js"
import { isAnswered } from "../step/replayStep.js"
import { type AnyDefinition, type AnyEffect, bodyOf, makeExecution, readJournalOf } from "./advance.js"
import { isTyped } from "./conclude.js"
import { inputOfRun, otherWorkflow } from "./execute.js"

/**
 * A run with its whole journal, as JSON can hold it. `Testing.replay` checks
 * whether changed code still fits it.
 *
 * @since 0.1.0
 * @category versions
 */
export const History = Schema.Struct({
  format: Schema.Literal(1),
  run: Schema.Struct({
    id: Schema.String,
    workflow: Schema.String,
    version: Schema.String,
    input: Schema.String,
    labels: Schema.Record({ key: Schema.String, value: Schema.String }),
    /** Which generation of the run the journal is of. Defaults to 1. */
    generation: Schema.optional(Schema.Number),
    outcome: Schema.optional(Schema.Struct({ status: OutcomeStatus, exit: Schema.String, at: Schema.Number }))
  }),
  journal: Schema.Array(
    Schema.Struct({
      seq: Schema.Number,
      /**
       * What the line says, such as AttemptStarted, AttemptFailed, StepCompleted, Decided or WaitEnded. Lines are for
       * `Testing.replay`: `Workflow.status` has errors and decisions as values.
       */
      kind: Schema.String,
      step: Schema.String,
      attempt: Schema.Number,
      at: Schema.Number,
      payload: Schema.optional(Schema.String)
    })
  )
})

/**
 * @since 0.1.0
 * @category versions
 */
export type History = typeof History.Type

/** Exports a run for the tests of a change, with its input and the results of its steps. */
export const history = Effect.fnUntraced(function* (
  id: string,
  options: {
    /**
     * What stands for secrets: `Redacted` parts of values, private State, and what `Redaction` finds. `plain` exports
     * them, for a replay whose schemas decode no `<redacted>`. Defaults to `hidden`.
     */
    readonly secrets?: "hidden" | "plain" | undefined
  } = {}
) {
  const storage = yield* Storage.Storage
  const redactor = yield* Redaction
  const hide = options.secrets === "plain" ? (text: string) => text : hiding(redactor)
  const { generation, input, key, labels, outcome, version, workflow } = yield* findRun(storage, id)
  const journal = yield* storage.journal(key)
  return {
    format: 1,
    run: {
      id,
      workflow,
      version,
      input: hide(input),
      labels,
      generation: generation === 1 ? undefined : generation,
      outcome: outcome && { ...outcome, exit: hide(outcome.exit) }
    },
    journal: journal.map((entry) => (entry.payload === undefined ? entry : { ...entry, payload: hide(entry.payload) }))
  } satisfies History
})

/** Hides the secrets of an encoded value. */
const hiding =
  (redactor: Redactor) =>
  (text: string): string =>
    // A text stays one when it is redacted.
    redactor.json(hideSecrets(text)) as string

/** How far a program comes with a journal, without running a step. */
export interface Replayed {
  /** Steps whose recorded result was returned. */
  readonly answered: number
  /** `open`: the journal ends before the program does. */
  readonly end: OutcomeStatus | "open"
}

/** Runs the body against a journal. No step runs. */
export const replay = (definition: AnyDefinition, { journal, run }: History) =>
  Effect.scoped(
    Effect.gen(function* () {
      if (run.workflow !== definition.name) return yield* otherWorkflow(run, definition)
      const storage = yield* Storage.make(Storage.memoryStore(), { owner: "replay" })
      const opened = yield* storage.open(run, (effect) => effect)
      // A new run in a store of its own is always created.
      if (opened._tag !== "Created") return yield* Effect.die("the store was not empty")
      // JSON drops undefined payloads.
      yield* storage.append(
        opened.lease,
        journal.map((entry) => ({ ...entry, payload: entry.payload }))
      )
      const input = yield* inputOfRun(definition, opened.run)
      const { lease } = opened
      const mode = { ...byCaller, isReplay: true }
      // The store of a replay has the clock of this process.
      const { generation = 1 } = run
      const leased = { storage, definition, lease, mode, clock: yield* Effect.clock, generation }
      const execution = yield* makeExecution(leased, yield* readJournalOf(storage, lease))
      const exit = yield* replayed(execution, bodyOf(execution, definition, input))
      const { stopError } = execution.lifecycle
      if (stopError !== undefined) return yield* stopError
      // A run is cancelled wherever it is.
      if (run.outcome?.status === "cancelled") {
        return { answered: answeredOf(execution), end: "cancelled" } satisfies Replayed
      }
      if (run.outcome !== undefined && exit === undefined) return yield* stepAfterOutcome(run)
      // A defect leaves the run open, as it does in an execution.
      if (exit === undefined || (Exit.isFailure(exit) && Cause.isDie(exit.cause) && !isTyped(exit.cause))) {
        return { answered: answeredOf(execution), end: "open" } satisfies Replayed
      }
      const mismatch = missingAtEnd(execution) ?? (yield* otherOutcome(definition, run, exit))
      if (mismatch !== undefined) return yield* mismatch
      return { answered: answeredOf(execution), end: statusOf(exit) } satisfies Replayed
    })
  ) as Effect.Effect<Replayed, RunError, unknown>

/** The run has an outcome, but the program begins another step. */
const stepAfterOutcome = ({ id, outcome }: History["run"]) =>
  new ReplayMismatch({
    run: id,
    reason: "Unexpected",
    recorded: `the end of the run, ${outcome?.status}`,
    found: "something after it"
  })

const answeredOf = ({ journal, replay: { active } }: Execution): number => {
  const [replay] = active
  return [...journal.steps.values()].filter((record) => isAnswered(record) && replay?.missing.has(record.step) !== true)
    .length
}

/** The exit of the body, or undefined where the journal ends before. */
const replayed = (execution: Execution, body: AnyEffect) =>
  Effect.gen(function* () {
    const replay = Replay.make("", execution.journal)
    execution.replay.active.add(replay)
    const fiber = yield* Effect.fork(body)
    execution.lifecycle.interruptBody = () => fiber.unsafeInterruptAsFork(FiberId.none)
    yield* Replay.awaitReached(replay, fiber)
    // A body that waits for no other fiber can still end.
    yield* Replay.yieldTurns(fiber, () => false)
    const exit = fiber.unsafePoll()
    yield* Fiber.interrupt(fiber)
    return exit ?? undefined
  })

const statusOf = (exit: Exit.Exit<unknown, unknown>): OutcomeStatus =>
  Exit.isSuccess(exit) ? "completed" : statusOfFailure(exit.cause)

/** A replay must end as recorded, and with the recorded value. Older runs may have an exhausted failure as `failed`. */
const otherOutcome = (definition: AnyDefinition, run: History["run"], exit: Exit.Exit<unknown, unknown>) =>
  Effect.gen(function* () {
    if (run.outcome === undefined) return undefined
    const { status } = run.outcome
    const ended = statusOf(exit)
    const text = Exit.isSuccess(exit) ? yield* valueCodec(definition.success).encode(exit.value) : run.outcome.exit
    // The history may hide what the value holds.
    const hide = hiding(yield* Redaction)
    const [found, wanted] = [hide(text ?? ""), hide(run.outcome.exit)]
    if (hasFailed(ended) === hasFailed(status) && found === wanted) return undefined
    const recorded = `the outcome ${status}: ${wanted.slice(0, 200)}`
    return new ReplayMismatch({
      run: run.id,
      reason: "Shape",
      recorded,
      found: `${ended}: ${found.slice(0, 200)}`
    })
  })
