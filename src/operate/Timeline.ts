/**
 * The timeline of a run: its attempts, waits, rollbacks and rewinds, in the
 * order of its journal.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Kind } from "../journal/Journal.js"
import { RunNotFound } from "../journal/RunError.js"
import { failureOf } from "../journal/RunFailure.js"
import { OutcomeStatus, RunFailure } from "../journal/RunStatus.js"
import { hideSecrets } from "../journal/Secrets.js"
import { limit } from "../resilience/internal/kernel/options.js"
import { Redaction, type Redactor } from "../resilience/Redaction.js"
import { isEncoded } from "../storage/encodedText.js"
import { hasFailed } from "../storage/rows.js"
import * as Storage from "../storage/Storage.js"

/**
 * A line of the journal.
 *
 * @since 0.1.0
 * @category models
 */
export const Moment = Schema.Struct({
  /** Its position in the journal. */
  seq: Schema.Number,
  at: Schema.Date,
  /** Such as `AttemptStarted`, `StepCompleted`, `WaitStarted`, `Rewound`. */
  kind: Schema.String,
  /** The step, wait or transaction, with its sections; empty for the run itself. */
  step: Schema.String,
  /** The number of the attempt, from 1; 0 for lines without one. */
  attempt: Schema.Number,
  /**
   * The error, the decision, the wait or the rewind point, as the journal stores it, without its secrets. Left out
   * beyond 2,000 characters.
   */
  detail: Schema.optional(Schema.String)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Moment extends Schema.Schema.Type<typeof Moment> {}

/**
 * A run and the lines of its journal.
 *
 * @since 0.1.0
 * @category models
 */
export const Timeline = Schema.Struct({
  run: Schema.String,
  workflow: Schema.String,
  labels: Schema.Record({ key: Schema.String, value: Schema.String }),
  createdAt: Schema.Date,
  /** Undefined until the run ends. */
  outcome: Schema.optional(
    Schema.Struct({
      status: OutcomeStatus,
      at: Schema.Date,
      /** Why it failed. */
      failure: Schema.optional(RunFailure)
    })
  ),
  /** How many of the oldest lines are left out. */
  omitted: Schema.Number,
  /** Oldest first. */
  moments: Schema.Array(Moment)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Timeline extends Schema.Schema.Type<typeof Timeline> {}

/** Whether the payload of a kind is shown. Results, answers and signals may hold data that only the program should see. */
const isShown: Readonly<Record<Kind, boolean>> = {
  AttemptStarted: false,
  AttemptFailed: true,
  AttemptAsked: true,
  AttemptDied: true,
  StepAmbiguous: true,
  StepInterrupted: false,
  StepCompleted: false,
  StepFailed: true,
  UndoRegistered: false,
  UndoStarted: false,
  UndoCompleted: false,
  UndoFailed: true,
  RollbackStarted: true,
  RolledBack: true,
  RollbackFailed: true,
  WaitStarted: true,
  WaitEnded: false,
  WaitInterrupted: false,
  ChildStarted: true,
  ChildEnded: false,
  StateSet: false,
  CheckpointSaved: false,
  CheckpointRead: false,
  Patched: false,
  Decided: true,
  RecoveryEnded: true,
  RewindStarted: true,
  Rewound: true,
  RunReopened: false,
  RunForked: true,
  RunContinued: true
}

const shows = (kind: string): boolean => Object.hasOwn(isShown, kind) && isShown[kind as Kind]

const maxDetailLength = 2_000

/**
 * Reads the timeline of a run. Values of results, answers and signals are left
 * out.
 *
 * @example
 * ```ts
 * import { Step, Storage, Workflow } from "effect-recovery"
 * import { Timeline } from "effect-recovery/operate"
 * import { Effect } from "effect"
 *
 * const greet = Step.make("greet", { run: Effect.log("hello") })
 * const Morning = Workflow.make("morning", {}, () => greet)
 *
 * const program = Effect.gen(function* () {
 *   yield* Workflow.execute(Morning, { id: "monday" })
 *   const { moments } = yield* Timeline.ofRun("monday")
 *   return moments.map(({ kind }) => kind)
 * })
 * program.pipe(Effect.provide(Storage.layerMemory), Effect.runPromise).then(console.log)
 * // [ 'AttemptStarted', 'StepCompleted' ]
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const ofRun = (
  id: string,
  options: {
    /** How many of the newest lines to return: 0 for none, `Infinity` for all. Defaults to 1,000. */
    readonly limit?: number | undefined
  } = {}
): Effect.Effect<Timeline, RunNotFound | Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const most = limit(options, 1_000)
    const storage = yield* Storage.Storage
    const redactor = yield* Redaction
    const found = yield* storage.find(id)
    if (Option.isNone(found)) return yield* new RunNotFound({ run: id })
    const { createdAt, key, labels, outcome, workflow } = found.value
    const journal = yield* storage.journal(key, maxDetailLength)
    // `slice(-0)` would show all.
    const shown = journal.slice(Math.max(0, journal.length - most))
    return {
      run: id,
      workflow,
      labels,
      createdAt: new Date(createdAt),
      outcome: outcome && {
        status: outcome.status,
        at: new Date(outcome.at),
        failure: hasFailed(outcome.status) ? failureOf(outcome.exit, redactor) : undefined
      },
      omitted: journal.length - shown.length,
      moments: shown.map((entry) => toMoment(entry, redactor))
    }
  })

const toMoment = ({ at, attempt, kind, payload, seq, step }: Storage.Entry, redactor: Redactor): Moment => ({
  seq,
  at: new Date(at),
  kind,
  step,
  attempt,
  detail: shows(kind) && payload !== undefined ? detailOf(payload, redactor) : undefined
})

const detailOf = (payload: string, redactor: Redactor): string =>
  isEncoded(payload) ? "encoded by the payloads of its storage" : String(redactor.json(hideSecrets(payload)))
