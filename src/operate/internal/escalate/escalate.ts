import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Option from "effect/Option"
import * as Storage from "../../../storage/Storage.js"
import type { Rule } from "../../Escalation.js"
import type { EscalationRecord } from "../../EscalationRecord.js"
import type { FailureRecord } from "../../FailureRecord.js"
import { EscalationNotFound } from "../../OperateError.js"
import {
  type EscalationDetails,
  escalations,
  failures,
  type Stored,
  toEscalation,
  toFailure
} from "../records/records.js"

/** Rules look at no more of the newest failures than these. */
const looked = 1_000

/** Raises what the rules call for; told are only those that were raised by this call. */
export const raise = (rules: ReadonlyArray<Rule>) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const now = yield* storage.now
    const open = (yield* failures.list({ status: "open", limit: looked })).map((one) => toFailure(one))
    const raised: Array<EscalationRecord> = []
    for (const rule of rules) {
      const recent = open.filter(({ detectedAt }) => detectedAt.getTime() > now - Duration.toMillis(rule.window))
      const groups = Object.entries(Arr.groupBy(recent, rule.group))
      for (const [group, members] of groups) {
        // Nothing is read for those that are too few.
        if (group === "" || members.length < rule.threshold) continue
        const found = yield* raiseFor(rule, group, members, now)
        if (Option.isSome(found)) raised.push(toEscalation(found.value))
      }
    }
    return raised
  })

/** One at a time for a group, and none while the last one is fresh. */
const raiseFor = (rule: Rule, group: string, recent: ReadonlyArray<FailureRecord>, now: number) =>
  Effect.gen(function* () {
    const subject = JSON.stringify([rule.name, group])
    const [last] = yield* escalations.list({ subject, limit: 1 })
    const members = newTo(last, recent)
    const [newest] = members
    if (newest === undefined || members.length < rule.threshold || (last !== undefined && isFresh(last, rule, now))) {
      return Option.none<Stored<EscalationDetails>>()
    }
    const details: EscalationDetails = {
      rule: rule.name,
      group,
      level: rule.level(members),
      message: `${members.length} failures of ${group} within ${Duration.format(rule.window)}, such as: ${newest.message}`,
      failures: members.map(({ id }) => id),
      categories: Arr.dedupe(members.map(({ category }) => category)),
      severities: Arr.dedupe(members.map(({ severity }) => severity))
    }
    // Two processes that see the same make the same id: one of them writes it.
    const id = `escalation_${(Hash.string(subject) >>> 0).toString(36)}_${(last?.key ?? 0) + 1}`
    return yield* escalations.write({ id, subject, status: "open", labels: labelsOf(members), details }, [])
  })

/** What somebody has dealt with does not call for an escalation again, though its failures may still be open. */
const newTo = (
  last: Stored<EscalationDetails> | undefined,
  recent: ReadonlyArray<FailureRecord>
): ReadonlyArray<FailureRecord> =>
  last?.status === "resolved" ? recent.filter(({ detectedAt }) => detectedAt.getTime() > last.updatedAt) : recent

const isFresh = ({ at, status }: Stored<EscalationDetails>, { cooldown }: Rule, now: number): boolean =>
  status !== "resolved" && at > now - Duration.toMillis(cooldown)

/** Those that all of them have. */
const labelsOf = (members: ReadonlyArray<FailureRecord>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(members[0]?.labels ?? {}).filter(([name, value]) =>
      members.every(({ labels }) => labels[name] === value)
    )
  )

/** Changes an escalation, unless it is resolved. */
export const settle = (id: string, status: "acknowledged" | "resolved", more: Partial<EscalationDetails>) =>
  Effect.flatMap(
    escalations.update(id, (found) =>
      found.status === "resolved" ? undefined : { status, details: { ...found.details, ...more } }
    ),
    Option.match({
      onNone: () => Effect.fail(new EscalationNotFound({ escalation: id })),
      onSome: (stored) => Effect.succeed(toEscalation(stored))
    })
  )
