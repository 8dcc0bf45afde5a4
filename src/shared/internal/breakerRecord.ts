/**
 * What processes hold together about one breaker, as a record of the storage, and each change that one of them makes.
 * All times are epoch milliseconds of the store's clock. Every function is pure, so that a lost race is a second try.
 */
import * as Schema from "effect/Schema"

/** What one process says: `down` as long as it has the breaker open by its own calls, `up` while its calls succeed. */
const Vote = Schema.Struct({ says: Schema.Literal("down", "up"), until: Schema.Number })

export const BreakerRecord = Schema.Struct({
  state: Schema.Literal("closed", "open", "isolated"),
  /** Incremented when probes or a reset close the breaker: openings from before it have ended. */
  generation: Schema.Number,
  /** When the first of the processes found it down that still say so; `null` if none does. */
  suspectedAt: Schema.NullOr(Schema.Number),
  /** When probes are due. */
  retryAt: Schema.Number,
  /** How often it opened since it was last closed. */
  openings: Schema.Number,
  /** By process. */
  votes: Schema.Record({ key: Schema.String, value: Vote }),
  /**
   * Probes that run, also those that began before the breaker last opened or closed. `due` is the `retryAt` by which
   * they were admitted. The place of a process that died is free again at `until`.
   */
  probes: Schema.Array(Schema.Struct({ place: Schema.String, due: Schema.Number, until: Schema.Number })),
  /** Probes of this open time that answered well. */
  recovered: Schema.Number,
  /** The process whose probe failed last: others go before it. */
  failedBy: Schema.String
})
export interface BreakerRecord extends Schema.Schema.Type<typeof BreakerRecord> {}

/** The rule by which processes agree. */
export interface Rule {
  /** The fewest processes that must find it down. */
  readonly processes: number
  /** More than this share of the processes that called it must find it down. */
  readonly share: number
  /** How long others have to object before it opens. */
  readonly graceMillis: number
  /** How long a vote counts that is not renewed. */
  readonly voteMillis: number
  readonly probes: number
  readonly probeMillis: number
}

export const quiet: BreakerRecord = {
  state: "closed",
  generation: 0,
  suspectedAt: null,
  retryAt: 0,
  openings: 0,
  votes: {},
  probes: [],
  recovered: 0,
  failedBy: ""
}

/** Whether processes that use the breaker must look at the record. */
export const isQuiet = ({ state, votes }: BreakerRecord): boolean =>
  state === "closed" && Object.values(votes).every(({ says }) => says === "up")

/** What a process knows of itself when it looks. */
export interface Standing {
  readonly process: string
  /** It opened the breaker by its own calls: how long until it probes. `undefined` if it did not. */
  readonly opening: { readonly untilProbe: number; readonly openings: number } | undefined
  /** What its calls since the last look say; `undefined` if there were none, or as many failures as successes. */
  readonly calls: "up" | "down" | undefined
}

/** Puts the vote of a process in the place of its last one, and draws the conclusion. */
export const vote = (record: BreakerRecord, standing: Standing, now: number, rule: Rule): BreakerRecord => {
  const { [standing.process]: last, ...others } = record.votes
  const mine = voteOf(record, standing, last, now, rule)
  return conclude(
    { ...record, votes: mine === undefined ? others : { ...others, [standing.process]: mine } },
    now,
    rule
  )
}

type OneVote = BreakerRecord["votes"][string]

const voteOf = (
  record: BreakerRecord,
  { calls, opening }: Standing,
  last: OneVote | undefined,
  now: number,
  { voteMillis }: Rule
): OneVote | undefined => {
  // Renewed at half of its time, so that a look seldom writes.
  const renewed = (says: OneVote["says"], until: number): OneVote =>
    last?.says === says && last.until >= until - voteMillis / 2 ? last : { says, until }
  if (opening !== undefined) return renewed("down", now + opening.untilProbe + voteMillis)
  if (calls === "up" && !isQuiet(record)) return renewed("up", now + voteMillis)
  // Failures since withdraw an objection. Without calls it counts until its time is over.
  return last?.says === "up" && calls !== "down" ? last : undefined
}

/** Opens a suspected breaker, or closes an open one that others find up. */
const conclude = (given: BreakerRecord, now: number, rule: Rule): BreakerRecord => {
  const record = { ...given, votes: livingVotes(given, now) }
  const says = Object.values(record.votes).map((vote) => vote.says)
  const down = says.filter((say) => say === "down").length
  const isDown = down > 0 && down / says.length > rule.share
  if (record.state === "open") return isDown || down === says.length ? record : closedByObjection(record)
  if (record.state === "isolated") return record
  if (down === 0) return { ...record, votes: {}, suspectedAt: null, retryAt: 0, openings: 0 }
  const suspectedAt = record.suspectedAt ?? now
  if (!isDown || down < rule.processes || now < suspectedAt + rule.graceMillis) return { ...record, suspectedAt }
  return { ...record, suspectedAt, state: "open", retryAt: firstRetry(record, now, rule), recovered: 0 }
}

/** Votes that count. While it is open, those that opened it do: probes alone show that they are out of date. */
const livingVotes = ({ state, votes }: BreakerRecord, now: number): BreakerRecord["votes"] =>
  Object.fromEntries(
    Object.entries(votes).filter(([_, { says, until }]) => until > now || (state === "open" && says === "down"))
  )

/** The end of the shortest open time of those that found it down. */
const firstRetry = ({ votes }: BreakerRecord, now: number, { voteMillis }: Rule): number =>
  Math.max(
    now,
    Math.min(...Object.values(votes).flatMap(({ says, until }) => (says === "down" ? [until - voteMillis] : [])))
  )

/** The processes that find it down keep it open for themselves. */
const closedByObjection = (record: BreakerRecord): BreakerRecord => ({
  ...record,
  state: "closed",
  recovered: 0
})

/** The process found it down just now; if its probe did, it opens again for all. */
export const opened = (
  given: BreakerRecord,
  standing: Standing & {
    readonly opening: { readonly untilProbe: number; readonly openings: number }
    /** Of the probe that found it down. */
    readonly place: string | undefined
  },
  now: number,
  rule: Rule
): BreakerRecord => {
  const openings = Math.max(given.openings, standing.opening.openings)
  const { probe, record } = withoutProbe({ ...given, openings }, standing.place)
  if (record.state !== "open" || probe?.due !== record.retryAt) return vote(record, standing, now, rule)
  const again = { retryAt: now + standing.opening.untilProbe, recovered: 0, failedBy: standing.process }
  return vote({ ...record, ...again }, standing, now, rule)
}

const withoutProbe = (record: BreakerRecord, place: string | undefined) => {
  const probe = record.probes.find((one) => one.place === place)
  return { probe, record: { ...record, probes: record.probes.filter((one) => one !== probe) } }
}

/** Gives a probe of a process its place; `undefined` if the process must not probe now. */
export const admitted = (
  record: BreakerRecord,
  { place, process }: { readonly process: string; readonly place: string },
  now: number,
  rule: Rule
): BreakerRecord | undefined => {
  const running = record.probes.filter(({ until }) => until > now)
  const isDue = record.state === "open" && now >= record.retryAt
  const isLast = record.failedBy === process && now < record.retryAt + rule.graceMillis
  if (!isDue || isLast || running.length + record.recovered >= rule.probes) return undefined
  return { ...record, probes: [...running, { place, due: record.retryAt, until: now + rule.probeMillis }] }
}

/** A probe ended that did not fail. Only its place is free if it began before the breaker last opened. */
export const probed = (given: BreakerRecord, place: string, result: "well" | "nothing", rule: Rule): BreakerRecord => {
  const { probe, record } = withoutProbe(given, place)
  if (probe === undefined) return given
  if (result === "nothing" || record.state !== "open" || probe.due !== record.retryAt) return record
  const recovered = record.recovered + 1
  return recovered < rule.probes ? { ...record, recovered } : reset(record)
}

export const reset = ({ generation, probes }: BreakerRecord): BreakerRecord => ({
  ...quiet,
  generation: generation + 1,
  probes
})

export const isolated = (record: BreakerRecord): BreakerRecord => ({ ...record, state: "isolated" })
