/**
 * The state of everything an operator watches, in one value.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Workflow from "../durable/Workflow.js"
import type { RunSummary } from "../journal/RunStatus.js"
import type * as Storage from "../storage/Storage.js"
import * as Insights from "./Insights.js"
import { escalations as escalations_, failures as failures_ } from "./internal/records/records.js"
import type { RecordDamaged } from "./OperateError.js"
import * as RecoveryManager from "./RecoveryManager.js"
import type { Overview, Question } from "./Reports.js"

export {
  /**
   * @since 0.1.0
   * @category models
   */
  Overview,
  /**
   * @since 0.1.0
   * @category models
   */
  Question
} from "./Reports.js"

/** Length of the lists. */
const shown = 50

/**
 * Reads the overview of one repository, or of all. Runs and statistics are
 * always those of all. Its cost does not grow with the number of records.
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
    const asking = yield* Workflow.list({ status: "suspended", waitingFor: "question", limit: shown })
    const questions = asking.flatMap(questionsOf).slice(0, shown)
    // A damaged record is skipped, so that it does not hide the others.
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

const questionsOf = ({ id: run, waiting, workflow }: RunSummary): ReadonlyArray<Question> =>
  waiting.filter(({ kind }) => kind === "question").map((question) => ({ ...question, run, workflow }))
