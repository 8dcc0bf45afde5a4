import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as PubSub from "effect/PubSub"
import type { Change, ChangeReason, Snapshot, State } from "../../CircuitBreaker.js"
import * as Events from "../../Events.js"
import * as Fault from "../../Fault.js"
import { BulkheadFull, CircuitOpen, withoutStack } from "../../RecoveryError.js"
import type { TripState } from "../../TripCondition.js"
import type { breakerMetrics } from "../kernel/metrics.js"
import type { OpenTime } from "./openTime.js"

export interface Settings {
  readonly name: string
  /** In a group. */
  readonly key: string | undefined
  readonly clock: Clock.Clock
  readonly trip: TripState
  /** Whether the trip wants to know when a call was made and how long it took. */
  readonly timed: boolean
  readonly openTime: OpenTime
  readonly probes: number
  readonly observes: boolean
  readonly counts: (fault: Fault.Fault) => boolean
  readonly metrics: ReturnType<typeof breakerMetrics>
  readonly hub: PubSub.PubSub<Change>
}

/** Plain fields, since every call passes here; single-threaded JavaScript makes each method atomic. */
export class Breaker {
  private state: State = "closed"
  private retryAt = 0
  /** What it was opened for. */
  private openMillis = 0
  /** Times it opened since it was last closed. */
  private openings = 0
  /** Probes on their way, and those that came back well. */
  private probing = 0
  private recovered = 0
  /** Calls from before the last change of state, or the last reset, do not speak for the present one. */
  private epoch = 0

  /** Refusals of one millisecond are one value: a system that is down is asked thousands of times a second. */
  private refusal: Effect.Effect<never, CircuitOpen> | undefined
  private refusedFor = 0

  private readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
  }

  /** With rules that are asked before those in force about what counts. */
  protect<A, E, R>(
    self: Effect.Effect<A, E, R>,
    rules?: ReadonlyArray<Fault.Rule>
  ): Effect.Effect<A, E | CircuitOpen, R> {
    // A probe is admitted where nothing can interrupt, or its place would be lost between here and there.
    const guarded = Effect.uninterruptibleMask((restore) =>
      Effect.suspend((): Effect.Effect<A, E | CircuitOpen, R> => {
        if (this.state === "closed") return restore(this.call(self, rules))
        const change = this.halfOpen()
        if (this.admitProbe()) return this.probe(self, restore, rules, change)
        const answer = restore(this.turnAway(self))
        return change === undefined ? answer : Effect.zipRight(restore(tell(change)), answer)
      })
    )
    return Effect.suspend(() => {
      if (this.state === "closed") return this.call(self, rules)
      return this.settings.observes || this.mayProbe() ? guarded : this.refuse()
    })
  }

  private call<A, E, R>(self: Effect.Effect<A, E, R>, rules: Rules): Effect.Effect<A, E, R> {
    const epoch = this.epoch
    const startedAt = this.settings.timed ? this.now() : 0
    return Effect.matchCauseEffect(self, {
      onFailure: (cause) => this.failed(cause, rules, epoch, startedAt),
      onSuccess: (value) => {
        this.settings.metrics.success()
        if (!this.trips("success", epoch, startedAt)) return Effect.succeed(value)
        // Opened where nothing can interrupt, or not at all: then the next call finds the condition met.
        const opened = Effect.suspend(() => (epoch === this.epoch ? this.opened("tripped") : unchanged))
        return Effect.as(Effect.flatMap(Effect.uninterruptible(opened), tell), value)
      }
    })
  }

  private failed<E>(cause: Cause.Cause<E>, rules: Rules, epoch: number, startedAt: number): Effect.Effect<never, E> {
    if (isInterruption(cause) || isRefusal(cause)) return Effect.failCause(cause)
    const judged = Effect.flatMap(classify(cause, rules), (fault) => {
      if (!this.settings.counts(fault)) return unchanged
      this.settings.metrics.failure()
      return this.trips("failure", epoch, startedAt) ? this.opened("tripped", fault) : unchanged
    })
    return after(Effect.flatMap(Effect.uninterruptible(judged), tell), cause)
  }

  private trips(outcome: "success" | "failure", epoch: number, startedAt: number): boolean {
    if (epoch !== this.epoch) return false
    const now = this.settings.timed ? this.now() : 0
    return this.settings.trip.record(outcome, now, now - startedAt)
  }

  private opened(reason: ChangeReason, fault?: Fault.Fault): Effect.Effect<Change> {
    this.openings++
    this.openMillis = this.settings.openTime.millis
    this.retryAt = this.now() + this.openMillis
    return Effect.as(this.settings.openTime.advance, this.move("open", reason, fault))
  }

  private move(to: State, reason: ChangeReason, fault?: Fault.Fault): Change {
    const { hub, metrics, name } = this.settings
    const change: Change = {
      breaker: name,
      key: this.settings.key,
      from: this.state,
      to,
      at: this.now(),
      reason,
      fault
    }
    this.state = to
    this.epoch++
    this.probing = 0
    this.recovered = 0
    this.refusal = undefined
    metrics.changed(to)
    hub.unsafeOffer(change)
    return change
  }

  /** Whether it would let a call through now. */
  get isWilling(): boolean {
    return this.state === "closed" || this.mayProbe()
  }

  private mayProbe(): boolean {
    if (this.state === "open") return this.isDue()
    return this.state === "half-open" && this.probing + this.recovered < this.settings.probes
  }

  private isDue(): boolean {
    return this.untilDue() === 0
  }

  /** A clock that was set back must not keep it open for longer than it was opened for. */
  private untilDue(): number {
    const now = this.now()
    if (this.retryAt - now > this.openMillis) this.retryAt = now + this.openMillis
    return Math.max(0, this.retryAt - now)
  }

  private halfOpen(): Change | undefined {
    return this.state === "open" && this.isDue() ? this.move("half-open", "the reset time is over") : undefined
  }

  private admitProbe(): boolean {
    if (this.state !== "half-open" || !this.mayProbe()) return false
    this.probing++
    return true
  }

  /** Whatever ends the probe, its place is given back or its verdict counted. */
  private probe<A, E, R>(
    self: Effect.Effect<A, E, R>,
    restore: <B, E1, R1>(effect: Effect.Effect<B, E1, R1>) => Effect.Effect<B, E1, R1>,
    rules: Rules,
    change: Change | undefined
  ): Effect.Effect<A, E, R> {
    const epoch = this.epoch
    let startedAt = 0
    // Timed from here on: an observer of the change before it may take as long as it likes.
    const work = Effect.suspend(() => {
      startedAt = this.now()
      return self
    })
    return Effect.matchCauseEffect(restore(change === undefined ? work : Effect.zipRight(tell(change), work)), {
      onFailure: (cause) => {
        const judged = Effect.onError(this.probeFailed(cause, rules, epoch), () => this.giveBack(epoch))
        return after(
          Effect.flatMap(judged, (changed) => restore(tell(changed))),
          cause
        )
      },
      onSuccess: (value) => {
        this.settings.metrics.success()
        const judged = Effect.suspend(() => this.probeAnswered(epoch, this.now() - startedAt))
        const told = Effect.flatMap(
          Effect.onError(judged, () => this.giveBack(epoch)),
          (changed) => restore(tell(changed))
        )
        return Effect.as(told, value)
      }
    })
  }

  /** Nothing was learned: somebody else may try. */
  private giveBack(epoch: number): Effect.Effect<undefined> {
    return Effect.sync(() => {
      if (epoch === this.epoch) this.probing--
      return undefined
    })
  }

  private probeFailed(cause: Cause.Cause<unknown>, rules: Rules, epoch: number): Effect.Effect<Change | undefined> {
    if (isInterruption(cause) || isRefusal(cause)) return this.giveBack(epoch)
    return Effect.flatMap(classify(cause, rules), (fault) => {
      if (this.settings.counts(fault)) {
        this.settings.metrics.failure()
        return epoch === this.epoch ? this.opened("a probe failed", fault) : unchanged
      }
      // The system answered, if only with a refusal: it is there again. Of a bug nobody knows where it happened.
      return Cause.isFailure(cause) ? this.probeAnswered(epoch, 0) : this.giveBack(epoch)
    })
  }

  private probeAnswered(epoch: number, millis: number): Effect.Effect<Change | undefined> {
    if (epoch !== this.epoch) return unchanged
    if (this.settings.trip.isSlow(millis)) return this.opened("a probe was slow")
    this.probing--
    this.recovered++
    return this.recovered < this.settings.probes ? unchanged : Effect.succeed(this.close("the probes came back well"))
  }

  private close(reason: ChangeReason): Change {
    this.openings = 0
    this.settings.openTime.reset()
    this.settings.trip.clear()
    return this.move("closed", reason)
  }

  readonly isolate: Effect.Effect<void> = Effect.suspend(() =>
    this.state === "isolated" ? Effect.void : tell(this.move("isolated", "isolated"))
  )

  readonly reset: Effect.Effect<void> = Effect.suspend(() => {
    if (this.state !== "closed") return tell(this.close("reset"))
    this.settings.trip.clear()
    this.epoch++
    return Effect.void
  })

  /** An observing breaker only counts whom it would have refused. */
  private turnAway<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CircuitOpen, R> {
    if (!this.settings.observes) return this.refuse()
    this.settings.metrics.refused()
    return self
  }

  private refuse(): Effect.Effect<never, CircuitOpen> {
    this.settings.metrics.refused()
    const millis = this.waitMillis()
    if (this.refusal === undefined || millis !== this.refusedFor) {
      this.refusedFor = millis
      this.refusal = this.makeRefusal(Duration.millis(millis))
    }
    return this.refusal
  }

  private makeRefusal(retryAfter: Duration.Duration): Effect.Effect<never, CircuitOpen> {
    // Of a closed breaker nobody is refused.
    const state = this.state === "closed" ? "open" : this.state
    // As an exit, it is done: Effect.fail would look for the span of the moment each time.
    return Exit.fail(withoutStack(() => new CircuitOpen({ breaker: this.settings.name, state, retryAfter })))
  }

  /** Until a call has a chance. While probes are out, or isolated, nobody knows: another period is a fair guess. */
  private waitMillis(): number {
    return this.state === "open" ? this.untilDue() : this.settings.openTime.millis
  }

  /** At rest it knows nothing that a new one would not. */
  get isAtRest(): boolean {
    const { failures, slow } = this.settings.trip.window(this.now())
    return this.state === "closed" && failures === 0 && slow === 0
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
    const { metrics, openTime, trip } = this.settings
    const now = this.now()
    trip.load(memory)
    this.openings = Number.isInteger(openings) && openings >= 0 ? openings : 0
    this.state = state === "half-open" ? "open" : state
    this.retryAt = state === "open" && retryAt !== undefined && Number.isFinite(retryAt) ? retryAt : now
    metrics.state(this.state)
    // Each opening that is remembered takes the schedule one step further, but for the present one.
    const steps = Math.max(0, Math.min(this.openings, maxRestoredOpenings) - 1)
    const catchUp = Effect.forEach(Array.from({ length: steps }), () => openTime.advance, { discard: true })
    const open = Effect.suspend(() => {
      this.openMillis = openTime.millis
      this.untilDue()
      return openTime.advance
    })
    return this.state === "open" ? Effect.zipRight(catchUp, open) : Effect.void
  }

  private now(): number {
    return this.settings.clock.unsafeCurrentTimeMillis()
  }
}

/** No schedule of open times is worth following for longer. */
const maxRestoredOpenings = 100

const unchanged: Effect.Effect<Change | undefined> = Effect.succeed(undefined)

const tell = (change: Change | undefined): Effect.Effect<void> =>
  change === undefined ? Effect.void : Events.emit({ _tag: "BreakerChanged", source: {}, change })

/** Asked before the rules in force. */
type Rules = ReadonlyArray<Fault.Rule> | undefined

const classify = (cause: Cause.Cause<unknown>, rules: Rules): Effect.Effect<Fault.Fault> =>
  Effect.map(Fault.classifier(rules), (classify) => classify(cause))

/** The failure of the call is not lost to a bug in what judges it. */
const after = <E>(judged: Effect.Effect<void>, cause: Cause.Cause<E>): Effect.Effect<never, E> =>
  Effect.matchCauseEffect(judged, {
    onFailure: (bug) => Effect.failCause(Cause.sequential(cause, bug)),
    onSuccess: () => Effect.failCause(cause)
  })

/** Also one whose finalizers died: whoever was interrupted has no answer to count. */
const isInterruption = (cause: Cause.Cause<unknown>): boolean => Cause.isInterrupted(cause) && !Cause.isFailure(cause)

/** The call was never made. */
const isRefusal = (cause: Cause.Cause<unknown>): boolean => {
  const error = Cause.failureOption(cause)
  return error._tag === "Some" && (error.value instanceof CircuitOpen || error.value instanceof BulkheadFull)
}
