/**
 * Everything an operator should see at once.
 *
 * @since 0.5.0
 */
import * as Effect from "effect/Effect"
import type { Waiting } from "../remember/RunError.js"
import * as Workflow from "../remember/Workflow.js"
import type * as Storage from "../storage/Storage.js"
import * as Escalation from "./Escalation.js"
import type { EscalationRecord } from "./EscalationRecord.js"
import type { FailureRecord } from "./FailureRecord.js"
import * as Insights from "./Insights.js"
import type { RecordDamaged } from "./OperateError.js"
import * as RecoveryManager from "./RecoveryManager.js"

/**
 * What a suspended run asks.
 *
 * @since 0.5.0
 * @category models
 */
export interface Question extends Waiting {
  readonly run: string
  readonly workflow: string
}

/**
 * @since 0.5.0
 * @category models
 */
export interface Overview {
  readonly dashboard: RecoveryManager.Dashboard
  readonly statistics: Insights.Statistics
  /** The newest. */
  readonly runs: ReadonlyArray<Workflow.RunSummary>
  readonly questions: ReadonlyArray<Question>
  /** The newest open ones. */
  readonly failures: ReadonlyArray<FailureRecord>
  /** The newest that are not resolved. */
  readonly escalations: ReadonlyArray<EscalationRecord>
}

const shown = 50

/**
 * How things stand, of one repository or of all; runs and statistics are those
 * of all. Costs the same however many records there are.
 *
 * @since 0.5.0
 * @category reading
 */
export const overview = (
  repository?: string
): Effect.Effect<Overview, RecordDamaged | Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const dashboard = yield* RecoveryManager.dashboard(repository)
    const statistics = yield* Insights.statistics
    const runs = yield* Workflow.list({ limit: shown })
    const waiting = yield* Workflow.list({ status: "suspended", limit: shown })
    const failures = yield* RecoveryManager.failures({ repository, status: "open", limit: shown })
    const open = yield* Escalation.list({ status: "open", limit: shown })
    const acknowledged = yield* Escalation.list({ status: "acknowledged", limit: shown })
    const escalations = [...open, ...acknowledged]
    return { dashboard, statistics, runs, questions: waiting.flatMap(questionsOf), failures, escalations }
  })

const questionsOf = ({ id: run, waiting, workflow }: Workflow.RunSummary): ReadonlyArray<Question> =>
  waiting.filter(({ kind }) => kind === "question").map((question) => ({ ...question, run, workflow }))
