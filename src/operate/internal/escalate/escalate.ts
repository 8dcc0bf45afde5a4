import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Option from "effect/Option"
import * as Storage from "../../../storage/Storage.js"
import type { Rule } from "../../Escalation.js"
import type { EscalationRecord } from "../../EscalationRecord.js"
import type { FailureRecord } from "../../FailureRecord.js"
import { type EscalationDetails, escalations, failures, type Stored } from "../records/records.js"

/** How many of the newest open failures the rules see. */
const maxFailures = 1_000

/** Raises the escalations the rules ask for, and returns those that this call raised. */
export const raise = (rules: ReadonlyArray<Rule>) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const now = yield* storage.now
    const open = yield* failures.list({ status: "open", limit: maxFailures })
    const raised: Array<EscalationRecord> = []
    for (const rule of rules) {
      const recent = open.filter(({ detectedAt }) => detectedAt.getTime() > now - Duration.toMillis(rule.window))
      for (const [group, members] of Object.entries(Arr.groupBy(recent, rule.group))) {
        // Checked before the storage is read for the group.
        if (group === "" || members.length < rule.threshold) continue
        const written = yield* raiseFor(rule, group, members, now)
        if (Option.isSome(written)) raised.push(escalations.toRecord(written.value))
      }
    }
    return raised
  })

/** Raises no escalation while the last one of the group is in its cooldown. */
const raiseFor = (rule: Rule, group: string, recent: ReadonlyArray<FailureRecord>, now: number) =>
  Effect.gen(function* () {
    const subject = JSON.stringify([rule.name, group])
    const [last] = yield* escalations.listStored({ subject, limit: 1 })
    const members = newSince(last, recent)
    const [newest] = members
    if (newest === undefined || members.length < rule.threshold || isCoolingDown(last, rule, now)) return Option.none()
    const details: EscalationDetails = {
      rule: rule.name,
      group,
      level: rule.level(members),
      message: `${members.length} failures of ${group} within ${Duration.format(rule.window)}, such as: ${newest.message}`,
      failures: members.map(({ id }) => id),
      categories: Arr.dedupe(members.map(({ category }) => category)),
      severities: Arr.dedupe(members.map(({ severity }) => severity))
    }
    // Processes that see the same failures compute the same id, and one of their inserts succeeds.
    const id = `escalation_${(Hash.string(subject) >>> 0).toString(36)}_${(last?.key ?? 0) + 1}`
    return yield* escalations.write({ id, subject, status: "open", labels: commonLabels(members), details }, [])
  })

/** Failures from before a resolved escalation raise no further one, although they may still be open. */
const newSince = (last: Stored<EscalationDetails> | undefined, recent: ReadonlyArray<FailureRecord>) =>
  last?.status === "resolved" ? recent.filter(({ detectedAt }) => detectedAt.getTime() > last.updatedAt) : recent

const isCoolingDown = (last: Stored<EscalationDetails> | undefined, { cooldown }: Rule, now: number): boolean =>
  last !== undefined && last.status !== "resolved" && last.at > now - Duration.toMillis(cooldown)

/** The labels on which all failures agree. */
const commonLabels = (members: ReadonlyArray<FailureRecord>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(members[0]?.labels ?? {}).filter(([name, value]) =>
      members.every(({ labels }) => labels[name] === value)
    )
  )

/** Acknowledges or resolves an escalation. A resolved one stays unchanged. */
export const updateEscalation = (
  id: string,
  status: "acknowledged" | "resolved",
  details: Pick<EscalationDetails, "acknowledgedBy" | "resolvedBy" | "note">
) =>
  Effect.flatMap(
    escalations.update(id, (found) =>
      found.status === "resolved" ? undefined : { status, details: { ...found.details, ...details } }
    ),
    escalations.require(id)
  )
