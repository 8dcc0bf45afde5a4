import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { limit } from "../../../resilience/internal/kernel/options.js"
import * as EscalationRecord from "../../EscalationRecord.js"
import { FailureRecord } from "../../FailureRecord.js"
import type { FailureQuery, RecoveryQuery } from "../../RecoveryOptions.js"
import * as RecoveryRecord from "../../RecoveryRecord.js"
import { checked } from "./checked.js"
import { escalations, failures, recoveries } from "./records.js"

const Text = Schema.optional(Schema.String)
const Limit = Schema.optional(Schema.Number)

const checkFailures = checked(
  "query",
  Schema.Struct({ run: Text, repository: Text, status: Schema.optional(FailureRecord.fields.status), limit: Limit })
)

export const listFailures = (query: FailureQuery = {}) =>
  Effect.flatMap(checkFailures(query), ({ repository, run, status }) =>
    failures.list({ subject: run, scope: repository, status, limit: limit(query) })
  )

const checkRecoveries = checked(
  "query",
  Schema.Struct({
    failure: Text,
    run: Text,
    repository: Text,
    status: Schema.optional(RecoveryRecord.Status),
    limit: Limit
  })
)

export const listRecoveries = (query: RecoveryQuery = {}) =>
  Effect.flatMap(checkRecoveries(query), ({ failure, repository, run, status }) => {
    const body = run === undefined ? undefined : JSON.stringify({ run })
    return recoveries.list({ subject: failure, scope: repository, status, body, limit: limit(query) })
  })

const checkEscalations = checked(
  "query",
  Schema.Struct({ status: Schema.optional(EscalationRecord.Status), limit: Limit })
)

export const listEscalations = (query: {
  readonly status?: EscalationRecord.Status | undefined
  readonly limit?: number | undefined
}) => Effect.flatMap(checkEscalations(query), ({ status }) => escalations.list({ status, limit: limit(query) }))
