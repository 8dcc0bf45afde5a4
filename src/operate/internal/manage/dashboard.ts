import * as Effect from "effect/Effect"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Storage from "../../../storage/Storage.js"
import type { Dashboard } from "../../RecoveryManager.js"
import { recoveryCounts } from "../insights/statistics.js"
import { counterName } from "../records/counters.js"
import { recoveries } from "../records/records.js"

/** Length of the lists. */
const limit = 10

/** Reads counters and the first pages of two lists, so its cost does not grow with the records. */
export const dashboardOf = (repository: string | undefined) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const labels = repository === undefined ? undefined : { repository }
    const prefix = repository === undefined ? "recoveries/" : `recoveries/${counterName(repository)}/`
    const { sum, types } = recoveryCounts(yield* storage.counters(prefix))
    const recent = yield* recoveries.listReadable({ scope: repository, limit })
    const checkpoints = yield* Checkpoint.list({ run: "any", labels, limit })
    const total = sum()
    const successful = sum({ status: "completed" })
    const dashboard: Dashboard = {
      recoverySummary: {
        totalRecoveries: total,
        successfulRecoveries: successful,
        failedRecoveries: sum({ status: "failed" }),
        inProgressRecoveries: sum({ status: "in_progress" }),
        successRate: total === 0 ? 0 : Math.round((successful / total) * 10_000) / 100
      },
      recoveryByType: Object.fromEntries(
        types.map((type) => [type, { total: sum({ type }), successful: sum({ type, status: "completed" }) }])
      ),
      recentRecoveries: recent,
      checkpointStatus: checkpoints
    }
    return dashboard
  })
