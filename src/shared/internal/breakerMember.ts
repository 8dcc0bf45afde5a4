import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Admission, Follower, Membership } from "../../resilience/BreakerSharing.js"
import type { Group } from "./breakerGroup.js"
import {
  admitted,
  type BreakerRecord,
  isolated,
  isQuiet,
  opened,
  probed,
  reset,
  type Standing,
  vote
} from "./breakerRecord.js"
import { recordId, type Seen, type Update } from "./records.js"

/** One breaker of this process among those of the others. */
export class BreakerMember implements Membership {
  readonly id: string
  private readonly group: Group
  private readonly breaker: Follower
  /** In the order in which they were asked for. */
  private readonly changes = Effect.unsafeMakeSemaphore(1)

  /** Successes minus failures of its calls since the last look began, and in the one before. */
  private balance = 0
  private lastBalance = 0
  private lookedAt = Number.NEGATIVE_INFINITY
  /** What this process read last. */
  private seen: BreakerRecord | undefined
  /** It opened by its own calls, and the record does not say so yet: what ended before does not end this. */
  private isFresh = false
  /** Openings that are being recorded. What was read before them is out of date. */
  private opening = 0
  private isObjecting = false
  private askAt = Number.NEGATIVE_INFINITY
  /** Places of probes that this process asked for. */
  private places = 0

  constructor(group: Group, breaker: Follower, key: string | undefined) {
    this.group = group
    this.breaker = breaker
    this.id = recordId(group.settings.name, key)
  }

  called(): void {
    this.group.called()
  }

  answered(succeeded: boolean): void {
    this.balance += succeeded ? 1 : -1
    // Others find it down while it answers here: they learn it at once.
    if (succeeded && this.isAlert && this.balance > 0 && !this.isObjecting && this.votesFor !== "up") this.object()
  }

  /** Whether it must read its record although no other process has anything to say. */
  get isInvolved(): boolean {
    return this.breaker.state !== "closed" || this.isAlert
  }

  private get isAlert(): boolean {
    return this.seen !== undefined && !isQuiet(this.seen)
  }

  private get votesFor(): "up" | "down" | undefined {
    return this.seen?.votes[this.group.process]?.says
  }

  /** Outcomes of long ago say nothing of now. */
  beginLook(): void {
    const now = this.group.now()
    this.lastBalance = now - this.lookedAt <= this.group.settings.rule.graceMillis ? this.balance : 0
    this.balance = 0
    this.lookedAt = now
  }

  /** Says what this process has found, and follows what the processes hold together. */
  readonly look: Effect.Effect<void> = Effect.suspend(() => this.change(this.vote(this.lastBalance)))

  private object(): void {
    this.isObjecting = true
    const done = Effect.sync(() => {
      this.isObjecting = false
    })
    this.group.fork(Effect.ensuring(this.change(this.vote(this.balance)), done))
  }

  private vote(balance: number): Update {
    return (record, now) => vote(record, this.standing(record, balance), now, this.group.settings.rule)
  }

  private standing(record: BreakerRecord, balance: number): Standing {
    const { group, breaker } = this
    const { isOwnOpening, openings, untilProbe } = breaker
    return {
      process: group.process,
      opening: isOwnOpening && !this.hasEnded(record) ? { untilProbe, openings } : undefined,
      calls: balance > 0 ? "up" : balance < 0 ? "down" : undefined
    }
  }

  /** Whether probes or a reset have closed it since this process looked. */
  private hasEnded({ generation }: BreakerRecord): boolean {
    return !this.isFresh && this.seen !== undefined && generation > this.seen.generation
  }

  opened(place: string | undefined): void {
    this.isFresh = true
    this.opening++
    const { process, settings } = this.group
    const { openings, untilProbe } = this.breaker
    const standing = { process, opening: { openings, untilProbe }, calls: undefined }
    const written = Effect.ensuring(
      this.update((record, now) => opened(record, { ...standing, place }, now, settings.rule)),
      Effect.sync(() => {
        this.opening--
      })
    )
    this.group.fork(this.followed(written))
  }

  closed(): void {
    this.background(this.vote(0))
  }

  mayAsk(): boolean {
    return this.group.now() >= this.askAt
  }

  probed(place: string, result: "well" | "nothing"): void {
    this.background((record) => probed(record, place, result, this.group.settings.rule))
  }

  /** Asked in a fiber of its own: the caller may have a transaction open, for which the storage would wait. */
  readonly admit: Effect.Effect<Admission> = Effect.suspend(() => {
    const { process, settings } = this.group
    const place = `${process}#${++this.places}`
    let isWaiting = true
    const leave = Effect.sync(() => {
      isWaiting = false
    })
    const asked = Effect.flatMap(
      this.update((record, now) => admitted(record, { process, place }, now, settings.rule)),
      (seen) => {
        if (seen.isChanged && !isWaiting) this.probed(place, "nothing")
        return Effect.as(this.follow(seen), this.admission(seen, place))
      }
    )
    const fiber = this.group.fork(this.group.records.orAlone(asked, "alone" as const))
    return Effect.onInterrupt(
      Effect.flatMap(Fiber.await(fiber), (exit) => (exit._tag === "Success" ? exit : Effect.succeed("alone" as const))),
      () => leave
    )
  })

  private admission({ isChanged, record }: Seen, place: string): Admission {
    if (isChanged) return { place }
    if (record.state === "closed") return "alone"
    this.askAt = this.group.now() + this.group.settings.intervalMillis
    return "refused"
  }

  readonly isolate: Effect.Effect<void> = Effect.suspend(() => this.change(isolated))

  readonly reset: Effect.Effect<void> = Effect.suspend(() => this.change(reset))

  leave(): void {
    this.group.leave(this)
  }

  private background(change: Update): void {
    this.group.fork(this.change(change))
  }

  private change(change: Update): Effect.Effect<void> {
    return this.followed(this.update(change))
  }

  private followed(seen: Effect.Effect<Seen, unknown>): Effect.Effect<void> {
    return this.group.records.orAlone(
      Effect.flatMap(seen, (seen) => this.follow(seen)),
      undefined
    )
  }

  private update(change: Update): Effect.Effect<Seen, unknown> {
    return this.changes.withPermits(1)(this.group.records.update(this.id, change))
  }

  private follow({ now, record }: Seen): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.opening > 0) return Effect.void
      const wasClosed = this.hasEnded(record)
      this.seen = record
      this.isFresh = false
      return this.breaker.follow({
        state: record.state,
        untilProbe: record.state === "open" ? Math.max(0, record.retryAt - now) : 0,
        openings: record.openings,
        wasClosed
      })
    })
  }
}
