import * as Effect from "effect/Effect"
import type { Follower, Membership, SharedView, Sharing } from "../../BreakerSharing.js"
import type { Change, ChangeReason } from "../../CircuitBreaker.js"
import type * as Fault from "../../Fault.js"
import type { CircuitOpen } from "../../Refusal.js"
import { Breaker, emit, type Probe, type Rules, type Settings } from "./breaker.js"

/**
 * A breaker that processes share. Closed, it is a breaker like any other; it asks the others before it probes, and
 * follows them when they open and close.
 */
export class MemberBreaker extends Breaker {
  private readonly membership: Membership
  /** The others opened or isolated it, so that they may close it again. */
  private isLed = false

  constructor(settings: Settings, sharing: Sharing) {
    super(settings)
    this.membership = sharing.join(this.follower, settings.key)
  }

  private get follower(): Follower {
    const breaker = this
    return {
      get state() {
        return breaker.state
      },
      get isOwnOpening() {
        return !breaker.isLed && (breaker.state === "open" || breaker.state === "half-open")
      },
      get openings() {
        return breaker.openings
      },
      get untilProbe() {
        return breaker.state === "open" ? Math.max(0, breaker.retryAt - breaker.now()) : 0
      },
      follow: (view) => breaker.follow(view)
    }
  }

  override protect<A, E, R>(self: Effect.Effect<A, E, R>, rules?: Rules): Effect.Effect<A, E | CircuitOpen, R> {
    return Effect.suspend(() => {
      this.membership.called()
      if (this.state === "closed") return this.call(self, rules)
      return this.mayProbe() ? this.askAndProbe(self, rules) : this.refuse()
    })
  }

  /** Probes do not come here: they are asked for, so they are no objection. */
  protected override trips(outcome: "success" | "failure", epoch: number, startedAt: number): boolean {
    this.membership.answered(outcome === "success")
    return super.trips(outcome, epoch, startedAt)
  }

  protected override mayProbe(): boolean {
    return super.mayProbe() && this.membership.mayAsk()
  }

  /** Uninterruptible but for the question and the call, so that an admitted probe always ends. */
  private askAndProbe<A, E, R>(self: Effect.Effect<A, E, R>, rules: Rules): Effect.Effect<A, E | CircuitOpen, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend((): Effect.Effect<A, E | CircuitOpen, R> => {
        // Its place in this process is taken first: one place is asked for once.
        const change = this.halfOpen()
        const probe = this.admitProbe()
        if (probe === undefined) return this.refuse()
        const admitted = Effect.onInterrupt(restore(this.membership.admit), () => this.freeProbe(probe))
        return Effect.flatMap(admitted, (admission): Effect.Effect<A, E | CircuitOpen, R> => {
          if (typeof admission !== "string") probe.place = admission.place
          if (admission !== "refused" && probe.epoch === this.epoch) {
            return this.probe(self, restore, rules, change, probe)
          }
          return Effect.flatMap(this.freeProbe(probe), () => {
            const answer: Effect.Effect<A, E | CircuitOpen, R> =
              this.state === "closed" ? this.call(self, rules) : this.refuse()
            return restore(change === undefined ? answer : Effect.zipRight(emit(change), answer))
          })
        })
      })
    )
  }

  protected override freeProbe(probe: Probe): Effect.Effect<undefined> {
    return Effect.suspend(() => {
      const place = takePlace(probe)
      if (place !== undefined) this.membership.probed(place, "nothing")
      return super.freeProbe(probe)
    })
  }

  protected override probeAnswered(probe: Probe, millis: number): Effect.Effect<Change | undefined> {
    return Effect.suspend(() => {
      const before = this.recovered
      return Effect.map(super.probeAnswered(probe, millis), (change) => {
        const isGood = change?.to === "closed" || this.recovered > before
        const place = takePlace(probe)
        if (place !== undefined) this.membership.probed(place, isGood ? "well" : "nothing")
        else if (change?.to === "closed") this.membership.closed()
        return change
      })
    })
  }

  protected override probeOpened(
    probe: Probe,
    reason: ChangeReason,
    fault?: Fault.Fault
  ): Effect.Effect<Change | undefined> {
    return probe.epoch === this.epoch
      ? this.opened(reason, fault, takePlace(probe))
      : Effect.zipRight(this.freeProbe(probe), super.probeOpened(probe, reason, fault))
  }

  protected override opened(reason: ChangeReason, fault?: Fault.Fault, place?: string): Effect.Effect<Change> {
    return Effect.suspend(() => {
      this.isLed = false
      const opened = super.opened(reason, fault)
      this.membership.opened(place)
      return opened
    })
  }

  override get isolate(): Effect.Effect<void> {
    return Effect.zipRight(super.isolate, this.membership.isolate)
  }

  override get reset(): Effect.Effect<void> {
    return Effect.zipRight(super.reset, this.membership.reset)
  }

  override evicted(): void {
    this.membership.leave()
  }

  private follow(view: SharedView): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (view.state === "isolated") return this.followInto("isolated", "isolated by another process")
      if (view.state === "closed") return this.isLed || view.wasClosed ? this.followClosed() : Effect.void
      // An isolation that could not be stored stays until this process resets it.
      return this.state === "isolated" && !this.isLed && !view.wasClosed ? Effect.void : this.followOpen(view)
    })
  }

  private followClosed(): Effect.Effect<void> {
    if (this.state === "closed") return Effect.void
    this.isLed = false
    return emit(this.close("closed by the other processes"))
  }

  private followOpen({ openings, untilProbe }: SharedView): Effect.Effect<void> {
    // Half-open and due are one state of the processes together.
    if (this.state === "half-open" && untilProbe === 0) return Effect.void
    // The schedule of open times is led as far as the processes together have come.
    const steps = Math.min(maxFollowedOpenings, Math.max(0, openings - this.openings))
    this.openings = Math.max(this.openings, openings)
    const { openTime } = this.settings
    const advanced = Effect.forEach(Array.from({ length: steps }), () => openTime.advance, { discard: true })
    const moved = this.followInto("open", "opened by other processes")
    this.openMillis = untilProbe
    this.retryAt = this.now() + untilProbe
    return Effect.zipRight(advanced, moved)
  }

  private followInto(state: "open" | "isolated", reason: ChangeReason): Effect.Effect<void> {
    if (this.state === state) return Effect.void
    // A half-open breaker that opens again stays whose it was.
    this.isLed = state === "isolated" || this.state !== "half-open" || this.isLed
    return emit(this.move(state, reason))
  }
}

/** Each place is given back once. */
const takePlace = (probe: Probe): string | undefined => {
  const { place } = probe
  probe.place = undefined
  return place
}

/** A bound on the steps of the schedule that one look repeats. */
const maxFollowedOpenings = 100
