import * as Effect from "effect/Effect"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Storage from "../../../storage/Storage.js"
import type { Dashboard } from "../../RecoveryManager.js"
import { nameOf, partsOf } from "../records/counts.js"
import { recoveries, toRecovery } from "../records/records.js"

const recent = 10

/** From counters and the newest pages of two lists: it costs the same however much there is. */
export const dashboardOf = (repository: string | undefined) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const labels = repository === undefined ? undefined : { repository }
    const within = repository === undefined ? "" : `${nameOf(repository)}/`
    const counters = yield* storage.counters(`recoveries/${within}`)
    const latest = yield* recoveries.readable({ scope: repository, limit: recent })
    const checkpoints = yield* Checkpoint.list({ run: "any", labels, limit: recent })
    const counts = counters.map(({ name, value }) => {
      const [, , type = "", status = ""] = partsOf(name)
      return { type, status, value }
    })
    const countOf = (status?: string, type?: string) =>
      counts
        .filter((one) => (status === undefined || one.status === status) && (type === undefined || one.type === type))
        .reduce((sum, { value }) => sum + value, 0)
    const total = countOf()
    const successful = countOf("completed")
    const dashboard: Dashboard = {
      recovery_summary: {
        total_recoveries: total,
        successful_recoveries: successful,
        failed_recoveries: countOf("failed"),
        in_progress_recoveries: countOf("in_progress"),
        success_rate: total === 0 ? 0 : Math.round((successful / total) * 10_000) / 100
      },
      recovery_by_type: Object.fromEntries(
        [...new Set(counts.map(({ type }) => type))].map((type) => [
          type,
          { total: countOf(undefined, type), successful: countOf("completed", type) }
        ])
      ),
      recent_recoveries: latest.map((stored) => toRecovery(stored)),
      checkpoint_status: checkpoints
    }
    return dashboard
  })
