import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as PubSub from "effect/PubSub"
import type { Change, ChangeReason, Snapshot, State, TripState } from "../CircuitBreaker.js"
import * as Events from "../Events.js"
import * as Fault from "../Fault.js"
import { CircuitOpen } from "./errors.js"
import type { forBreaker } from "./meters.js"
import type { OpenTime } from "./openTime.js"
import { withoutStack } from "./withoutStack.js"

export interface Settings {
  readonly name: string
  readonly clock: Clock.Clock
  readonly trip: TripState
  /** Whether the trip wants to know when a call was made and how long it took. */
  readonly timed: boolean
  readonly openTime: OpenTime
  readonly probes: number
  readonly observes: boolean
  readonly counts: (fault: Fault.Fault) => boolean
  readonly meters: ReturnType<typeof forBreaker>
  readonly hub: PubSub.PubSub<Change>
}

/** Plain fields, since every call passes here; single-threaded JavaScript makes each method atomic. */
export class Breaker {
  private state: State = "closed"
  private retryAt = 0
  /** Times it opened since it was last closed. */
  private openings = 0
  /** Probes on their way, and those that came back well. */
  private probing = 0
  private recovered = 0
  /** Calls from before the last change of state do not speak for the present one. */
  private epoch = 0

  /** Refusals of one millisecond are one value: a system that is down is asked thousands of times a second. */
  private refusal: Effect.Effect<never, CircuitOpen> | undefined
  private refusedFor = 0

  private readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
  }

  protect<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CircuitOpen, R> {
    // A probe is admitted where nothing can interrupt, or its place would be lost between here and there.
    const guarded = Effect.uninterruptibleMask((restore) =>
      Effect.suspend((): Effect.Effect<A, E | CircuitOpen, R> => {
        if (this.state === "closed") return restore(this.call(self))
        const change = this.halfOpen()
        const admitted = this.admitProbe()
        const answer = admitted ? this.probe(self, restore) : this.turnAway(restore(self))
        return change === undefined ? answer : Effect.zipRight(this.tell(change), answer)
      })
    )
    return Effect.suspend(() => {
      if (this.state === "closed") return this.call(self)
      return this.settings.observes || this.mayProbe() ? guarded : this.refuse()
    })
  }

  private call<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const epoch = this.epoch
    const startedAt = this.settings.timed ? this.now() : 0
    return Effect.matchCauseEffect(self, {
      onFailure: (cause) => this.failed(cause, epoch, startedAt),
      onSuccess: (value) => {
        this.settings.meters.success()
        const tripped = epoch === this.epoch && this.record("success", startedAt)
        return tripped ? Effect.as(this.opened("slow calls"), value) : Effect.succeed(value)
      }
    })
  }

  private failed<E>(cause: Cause.Cause<E>, epoch: number, startedAt: number): Effect.Effect<never, E> {
    if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause)
    const judged = Effect.flatMap(Fault.classify(cause), (fault) => {
      if (!this.settings.counts(fault)) return Effect.void
      this.settings.meters.failure()
      const tripped = epoch === this.epoch && this.record("failure", startedAt)
      return tripped ? this.opened("failures", fault) : Effect.void
    })
    return Effect.zipRight(Effect.uninterruptible(judged), Effect.failCause(cause))
  }

  private record(outcome: "success" | "failure", startedAt: number): boolean {
    const now = this.settings.timed ? this.now() : 0
    return this.settings.trip.record(outcome, now, now - startedAt)
  }

  private opened(reason: ChangeReason, fault?: Fault.Fault): Effect.Effect<void> {
    const change = this.open(reason, fault)
    return Effect.zipRight(this.settings.openTime.advance(change.at), this.tell(change))
  }

  private open(reason: ChangeReason, fault?: Fault.Fault): Change {
    this.openings++
    this.retryAt = this.now() + this.settings.openTime.millis
    return this.move("open", reason, fault)
  }

  private move(to: State, reason: ChangeReason, fault?: Fault.Fault): Change {
    const { hub, meters, name } = this.settings
    const change: Change = { breaker: name, from: this.state, to, at: this.now(), reason, fault }
    this.state = to
    this.epoch++
    this.probing = 0
    this.recovered = 0
    meters.changed(to)
    hub.unsafeOffer(change)
    return change
  }

  private tell(change: Change): Effect.Effect<void> {
    return Events.emit({ _tag: "BreakerChanged", source: {}, change })
  }

  private mayProbe(): boolean {
    if (this.state === "open") return this.now() >= this.retryAt
    return this.state === "half-open" && this.probing + this.recovered < this.settings.probes
  }

  private halfOpen(): Change | undefined {
    return this.state === "open" && this.now() >= this.retryAt
      ? this.move("half-open", "the reset time is over")
      : undefined
  }

  private admitProbe(): boolean {
    if (this.state !== "half-open" || !this.mayProbe()) return false
    this.probing++
    return true
  }

  /** Whatever ends the probe, its place is given back or its verdict counted. */
  private probe<A, E, R>(
    self: Effect.Effect<A, E, R>,
    restore: <B, E1, R1>(effect: Effect.Effect<B, E1, R1>) => Effect.Effect<B, E1, R1>
  ): Effect.Effect<A, E, R> {
    const epoch = this.epoch
    const startedAt = this.now()
    return Effect.matchCauseEffect(restore(self), {
      onFailure: (cause) => Effect.zipRight(this.probeFailed(cause, epoch), Effect.failCause(cause)),
      onSuccess: (value) => {
        this.settings.meters.success()
        return Effect.as(this.probeAnswered(epoch, this.now() - startedAt), value)
      }
    })
  }

  private probeFailed(cause: Cause.Cause<unknown>, epoch: number): Effect.Effect<void> {
    if (Cause.isInterruptedOnly(cause)) {
      if (epoch === this.epoch) this.probing--
      return Effect.void
    }
    return Effect.flatMap(Fault.classify(cause), (fault) => {
      // The system answered, if only with a refusal: it is there again.
      if (!this.settings.counts(fault)) return this.probeAnswered(epoch, 0)
      this.settings.meters.failure()
      return epoch === this.epoch ? this.opened("a probe failed", fault) : Effect.void
    })
  }

  private probeAnswered(epoch: number, millis: number): Effect.Effect<void> {
    if (epoch !== this.epoch) return Effect.void
    if (this.settings.trip.isSlow(millis)) return this.opened("a probe was slow")
    this.probing--
    this.recovered++
    return this.recovered < this.settings.probes ? Effect.void : this.tell(this.close("the probes came back well"))
  }

  private close(reason: ChangeReason): Change {
    this.openings = 0
    this.settings.openTime.reset()
    this.settings.trip.clear()
    return this.move("closed", reason)
  }

  readonly isolate: Effect.Effect<void> = Effect.suspend(() => this.tell(this.move("isolated", "isolated")))

  readonly reset: Effect.Effect<void> = Effect.suspend(() => this.tell(this.close("reset")))

  /** An observing breaker only counts whom it would have refused. */
  private turnAway<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CircuitOpen, R> {
    if (!this.settings.observes) return this.refuse()
    this.settings.meters.refused()
    return self
  }

  private refuse(): Effect.Effect<never, CircuitOpen> {
    this.settings.meters.refused()
    const millis = this.waitMillis()
    if (this.refusal === undefined || millis !== this.refusedFor) {
      this.refusedFor = millis
      this.refusal = this.makeRefusal(Duration.millis(millis))
    }
    return this.refusal
  }

  private makeRefusal(retryAfter: Duration.Duration): Effect.Effect<never, CircuitOpen> {
    return Effect.fail(withoutStack(() => new CircuitOpen({ breaker: this.settings.name, retryAfter })))
  }

  /** Until a call has a chance. While probes are out, or isolated, nobody knows: another period is a fair guess. */
  private waitMillis(): number {
    return this.state === "open" ? Math.max(0, this.retryAt - this.now()) : this.settings.openTime.millis
  }

  /** At rest it knows nothing that a new one would not. */
  get isAtRest(): boolean {
    return this.state === "closed" && this.settings.trip.window(this.now()).failures === 0
  }

  snapshot(): Snapshot {
    const { trip } = this.settings
    const now = this.now()
    return {
      state: this.state,
      openings: this.openings,
      ...(this.state === "open" ? { retryAt: this.retryAt } : {}),
      window: trip.window(now),
      memory: trip.save(now)
    }
  }

  /** A half-open breaker comes back open and due: its probes have died with their process. */
  restore({ memory, openings, retryAt, state }: Snapshot): Effect.Effect<void> {
    const { openTime, trip } = this.settings
    const now = this.now()
    trip.load(memory)
    this.openings = isCount(openings) ? openings : 0
    this.state = state === "half-open" ? "open" : state
    const dueAt = state === "open" && retryAt !== undefined && Number.isFinite(retryAt) ? retryAt : now
    // Each opening that is remembered takes the schedule one step further, but for the present one.
    const steps = Math.max(0, Math.min(this.openings, maxRestoredOpenings) - 1)
    const advance = openTime.advance(now)
    const catchUp = Effect.forEach(Array.from({ length: steps }), () => advance, { discard: true })
    const open = Effect.suspend(() => {
      // A clock that was wrong once must not keep it open for longer than it would be by itself.
      this.retryAt = Math.min(dueAt, now + openTime.millis)
      return advance
    })
    return this.state === "open" ? Effect.zipRight(catchUp, open) : Effect.void
  }

  private now(): number {
    return this.settings.clock.unsafeCurrentTimeMillis()
  }
}

/** No schedule of open times is worth following for longer. */
const maxRestoredOpenings = 100

const isCount = (value: number): boolean => Number.isInteger(value) && value >= 0
