import * as Effect from "effect/Effect"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import type * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import type { Suggestion } from "../../Insights.js"
import type { Met } from "../records/counts.js"
import { type Candidate, candidatesFor, type Related } from "./candidates.js"
import { casesOf, estimate, type Learned, learnedOf } from "./learned.js"
import { iterationOf, placeOf } from "./place.js"

export const metOf = (failure: FailureRecord): Met => ({
  category: failure.category,
  fingerprint: failure.fingerprint,
  place: placeOf(failure)
})

/** The most promising first; of equal ones the one that was named first. */
export const suggest = (storage: Storage.Service, failure: FailureRecord) =>
  Effect.gen(function* () {
    const checkpoints = failure.run === undefined ? undefined : yield* relatedTo(failure, failure.run)
    const candidates = candidatesFor({
      category: failure.category,
      message: failure.message,
      severity: failure.severity,
      step: placeOf(failure),
      iteration: iterationOf(failure.step ?? ""),
      checkpoints
    })
    const learned = yield* learnedOf(storage, metOf(failure))
    return candidates.map((candidate) => judge(candidate, learned)).sort((a, b) => b.confidence - a.confidence)
  })

const judge = ({ confidence, parameters, reason, strategy, success }: Candidate, learned: Learned): Suggestion => ({
  strategy,
  reason,
  parameters,
  confidence: estimate(confidence, strategy, learned),
  estimatedSuccess: estimate(success, strategy, learned),
  cases: casesOf(strategy, learned)
})

/** How many of the newest checkpoints are looked at for their run or commit. */
const looked = 5

/** Its run's checkpoints from before the failure, and how many are related to it. */
const relatedTo = (failure: FailureRecord, run: string) =>
  Effect.gen(function* () {
    const { commit, repository } = failure.labels
    const labels = repository === undefined ? undefined : { repository }
    const newest = yield* Checkpoint.list({ run: "any", labels, limit: looked })
    const [before] = yield* Checkpoint.list({ run, before: new Date(failure.detectedAt.getTime() + 1), limit: 1 })
    const isRelated = (info: Checkpoint.Info) =>
      info.run === run || (commit !== undefined && info.labels.commit === commit)
    return { related: newest.filter(isRelated).length, before: before?.id } satisfies Related
  })
