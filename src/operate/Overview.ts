/**
 * Everything an operator should see at once.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Waiting } from "../durable/RunError.js"
import * as Workflow from "../durable/Workflow.js"
import type * as Storage from "../storage/Storage.js"
import type { EscalationRecord } from "./EscalationRecord.js"
import type { FailureRecord } from "./FailureRecord.js"
import * as Insights from "./Insights.js"
import { escalations as escalations_, failures as failures_ } from "./internal/records/records.js"
import type { RecordDamaged } from "./OperateError.js"
import * as RecoveryManager from "./RecoveryManager.js"

/**
 * What a suspended run asks.
 *
 * @since 0.1.0
 * @category models
 */
export interface Question extends Waiting {
  readonly run: string
  readonly workflow: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Overview {
  readonly dashboard: RecoveryManager.Dashboard
  readonly statistics: Insights.Statistics
  /** The newest. */
  readonly runs: ReadonlyArray<Workflow.RunSummary>
  /** Of the newest 2,000 runs that wait, at most 50. */
  readonly questions: ReadonlyArray<Question>
  /** The newest open ones. */
  readonly failures: ReadonlyArray<FailureRecord>
  /** The newest that are not resolved. */
  readonly escalations: ReadonlyArray<EscalationRecord>
}

const shown = 50

const looked = 2_000

/**
 * How things stand, of one repository or of all; runs and statistics are those
 * of all. Costs the same however many records there are.
 *
 * @since 0.1.0
 * @category reading
 */
export const overview = (
  repository?: string
): Effect.Effect<Overview, RecordDamaged | Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const dashboard = yield* RecoveryManager.dashboard(repository)
    const statistics = yield* Insights.statistics
    const runs = yield* Workflow.list({ limit: shown })
    // Most of those that wait may sleep.
    const waiting = yield* Workflow.list({ status: "suspended", limit: looked })
    const questions = waiting.flatMap(questionsOf).slice(0, shown)
    // One record that is damaged must not hide all others.
    const failures = yield* failures_.listReadable({ scope: repository, status: "open", limit: shown })
    const open = yield* escalations_.listReadable({ status: "open", limit: shown })
    const acknowledged = yield* escalations_.listReadable({ status: "acknowledged", limit: shown })
    return {
      dashboard,
      statistics,
      runs,
      questions,
      failures,
      escalations: [...open, ...acknowledged]
    }
  })

const questionsOf = ({ id: run, waiting, workflow }: Workflow.RunSummary): ReadonlyArray<Question> =>
  waiting.filter(({ kind }) => kind === "question").map((question) => ({ ...question, run, workflow }))
