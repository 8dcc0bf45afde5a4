import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Change, ChangeReason, Snapshot, State } from "../../CircuitBreaker.js"
import * as Events from "../../Events.js"
import * as Fault from "../../Fault.js"
import { BulkheadFull, CircuitOpen, withoutStack } from "../../Refusal.js"
import type { TripState, Window } from "../../TripCondition.js"
import type { Feed } from "../kernel/feed.js"
import { logThrown, orElseLogged } from "../kernel/logged.js"
import type { breakerMetrics } from "../kernel/metrics.js"
import { steadyMillis } from "../kernel/timer.js"
import type { OpenTime } from "./openTime.js"

export interface Settings {
  readonly name: string
  /** The key in a keyed group. */
  readonly key: string | undefined
  readonly clock: Clock.Clock
  readonly trip: TripState
  /** Whether the trip condition needs the start and the duration of each call. */
  readonly timed: boolean
  readonly openTime: OpenTime
  readonly probes: number
  readonly observes: boolean
  readonly counts: (fault: Fault.Fault) => boolean
  readonly metrics: ReturnType<typeof breakerMetrics>
  readonly feed: Feed<Change>
}

/** A call that was admitted to find out whether the system answers again. */
export interface Probe {
  readonly epoch: number
  /** Its place among the probes of all processes that share the breaker, until it ends. */
  place: string | undefined
}

/** Uses plain mutable fields for speed. Each method is atomic, since JavaScript has one thread. */
export class Breaker {
  protected state: State = "closed"
  protected retryAt = 0
  /** The length of the current open time. */
  protected openMillis = 0
  /** How often the breaker opened since it was last closed. */
  protected openings = 0
  /** Probes that run, and probes that succeeded. */
  protected probing = 0
  protected recovered = 0
  /** Incremented by each state change and reset. Calls that started in an earlier epoch do not count. */
  protected epoch = 0

  /** Cached for one millisecond, since an open breaker may refuse thousands of calls per second. */
  protected refusal: Effect.Effect<never, CircuitOpen> | undefined
  private refusedFor = 0

  protected readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
  }

  /** Runs `self` if the breaker admits it. `rules` go before the rules in force when a failure is classified. */
  protect<A, E, R>(
    self: Effect.Effect<A, E, R>,
    rules?: ReadonlyArray<Fault.Rule>
  ): Effect.Effect<A, E | CircuitOpen, R> {
    // Uninterruptible, so that an admitted probe always ends in `probe`, which frees its slot.
    const guarded = Effect.uninterruptibleMask((restore) =>
      Effect.suspend((): Effect.Effect<A, E | CircuitOpen, R> => {
        if (this.state === "closed") return restore(this.call(self, rules))
        const change = this.halfOpen()
        const probe = this.admitProbe()
        if (probe !== undefined) return this.probe(self, restore, rules, change, probe)
        const answer = restore(this.refuseOrObserve(self))
        return change === undefined ? answer : Effect.zipRight(restore(emit(change)), answer)
      })
    )
    // What runs the call, for all calls of one epoch: only a timed condition needs one of its own for each.
    let call: Effect.Effect<A, E, R> | undefined
    let madeIn: number | undefined
    return Effect.suspend(() => {
      if (this.state === "closed") {
        if (this.settings.timed) return this.call(self, rules)
        if (call === undefined || madeIn !== this.epoch) {
          call = this.call(self, rules)
          madeIn = this.epoch
        }
        return call
      }
      return this.settings.observes || this.mayProbe() ? guarded : this.refuse()
    })
  }

  protected call<A, E, R>(self: Effect.Effect<A, E, R>, rules: Rules): Effect.Effect<A, E, R> {
    const epoch = this.epoch
    const startedAt = this.settings.timed ? this.clockMillis() : 0
    return Effect.matchCauseEffect(self, {
      onFailure: (cause) => this.failed(cause, rules, epoch, startedAt),
      onSuccess: (value) => {
        this.settings.metrics.success()
        if (!this.trips("success", epoch, startedAt)) return Effect.succeed(value)
        // Uninterruptible, so that the breaker opens completely. If interrupted before, the next call opens it.
        const opened = Effect.suspend(() => (epoch === this.epoch ? this.opened("tripped") : unchanged))
        return Effect.as(Effect.flatMap(Effect.uninterruptible(opened), emit), value)
      }
    })
  }

  private failed<E>(cause: Cause.Cause<E>, rules: Rules, epoch: number, startedAt: number): Effect.Effect<never, E> {
    if (isInterruption(cause) || isRefusal(cause)) return Effect.failCause(cause)
    const evaluated = Effect.flatMap(classify(cause, rules), (fault) => {
      if (!this.counts(fault)) return unchanged
      this.settings.metrics.failure()
      return this.trips("failure", epoch, startedAt) ? this.opened("tripped", fault) : unchanged
    })
    return after(Effect.flatMap(Effect.uninterruptible(evaluated), emit), cause)
  }

  protected trips(outcome: "success" | "failure", epoch: number, startedAt: number): boolean {
    if (epoch !== this.epoch) return false
    try {
      const { timed, trip } = this.settings
      return timed ? trip.record(outcome, this.now(), this.clockMillis() - startedAt) : trip.record(outcome, 0, 0)
    } catch (thrown) {
      this.logThrown(thrown)
      return false
    }
  }

  private counts(fault: Fault.Fault): boolean {
    const { counts, name } = this.settings
    return orElseLogged(
      () => counts(fault),
      fault.transient,
      `counts of the breaker "${name}" threw; transient faults count`
    )
  }

  /** Calls the trip condition, which may be the user's. A throw changes nothing else. */
  private asked<A>(ask: (trip: TripState) => A, otherwise: A): A {
    try {
      return ask(this.settings.trip)
    } catch (thrown) {
      this.logThrown(thrown)
      return otherwise
    }
  }

  private logThrown(thrown: unknown): void {
    logThrown(thrown, `the trip condition of the breaker "${this.settings.name}" threw; it does not open the breaker`)
  }

  protected opened(reason: ChangeReason, fault?: Fault.Fault): Effect.Effect<Change> {
    this.openings++
    this.openMillis = this.settings.openTime.millis
    this.retryAt = this.now() + this.openMillis
    return Effect.as(this.settings.openTime.advance, this.move("open", reason, fault))
  }

  protected move(to: State, reason: ChangeReason, fault?: Fault.Fault): Change {
    const { feed, metrics, name } = this.settings
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
    feed.publish(change)
    return change
  }

  /** Whether the breaker would admit a call now. */
  get isWilling(): boolean {
    return this.state === "closed" || this.mayProbe()
  }

  protected mayProbe(): boolean {
    if (this.state === "open") return this.untilDue() === 0
    return this.state === "half-open" && this.probing + this.recovered < this.settings.probes
  }

  /** Milliseconds until a probe is due. Limited to the open time, in case the clock was set back. */
  private untilDue(): number {
    const now = this.now()
    if (this.retryAt - now > this.openMillis) this.retryAt = now + this.openMillis
    return Math.max(0, this.retryAt - now)
  }

  protected halfOpen(): Change | undefined {
    return this.state === "open" && this.untilDue() === 0 ? this.move("half-open", "the reset time is over") : undefined
  }

  protected admitProbe(): Probe | undefined {
    if (this.state !== "half-open" || !this.mayProbe()) return undefined
    this.probing++
    return { epoch: this.epoch, place: undefined }
  }

  /** Each outcome of the probe either counts or frees its slot. */
  protected probe<A, E, R>(
    self: Effect.Effect<A, E, R>,
    restore: <B, E1, R1>(effect: Effect.Effect<B, E1, R1>) => Effect.Effect<B, E1, R1>,
    rules: Rules,
    change: Change | undefined,
    probe: Probe
  ): Effect.Effect<A, E, R> {
    const report = (evaluated: Effect.Effect<Change | undefined>) =>
      Effect.flatMap(
        Effect.onError(evaluated, () => this.freeProbe(probe)),
        (changed) => restore(emit(changed))
      )
    let startedAt = 0
    // Timed from here, so that the time of an event observer does not count.
    const work = Effect.suspend(() => {
      startedAt = this.clockMillis()
      return self
    })
    return Effect.matchCauseEffect(restore(change === undefined ? work : Effect.zipRight(emit(change), work)), {
      onFailure: (cause) => after(report(this.probeFailed(cause, rules, probe)), cause),
      onSuccess: (value) => {
        this.settings.metrics.success()
        const evaluated = Effect.suspend(() => this.probeAnswered(probe, this.clockMillis() - startedAt))
        return Effect.as(report(evaluated), value)
      }
    })
  }

  /** The probe was inconclusive, so another call may probe. */
  protected freeProbe(probe: Probe): Effect.Effect<undefined> {
    return Effect.sync(() => {
      if (probe.epoch === this.epoch) this.probing--
      return undefined
    })
  }

  private probeFailed(cause: Cause.Cause<unknown>, rules: Rules, probe: Probe): Effect.Effect<Change | undefined> {
    if (isInterruption(cause) || isRefusal(cause)) return this.freeProbe(probe)
    return Effect.flatMap(classify(cause, rules), (fault) => {
      if (this.counts(fault)) {
        this.settings.metrics.failure()
        return this.probeOpened(probe, "a probe failed", fault)
      }
      // A typed failure that does not count is an answer of the system. A defect may come from the caller.
      return Cause.isFailure(cause) ? this.probeAnswered(probe, 0) : this.freeProbe(probe)
    })
  }

  protected probeOpened(probe: Probe, reason: ChangeReason, fault?: Fault.Fault): Effect.Effect<Change | undefined> {
    return probe.epoch === this.epoch ? this.opened(reason, fault) : unchanged
  }

  protected probeAnswered(probe: Probe, millis: number): Effect.Effect<Change | undefined> {
    if (probe.epoch !== this.epoch) return unchanged
    if (this.asked((trip) => trip.isSlow(millis), false)) return this.probeOpened(probe, "a probe was slow")
    this.probing--
    this.recovered++
    return this.recovered < this.settings.probes ? unchanged : Effect.succeed(this.close("the probes came back well"))
  }

  protected close(reason: ChangeReason): Change {
    this.openings = 0
    this.settings.openTime.reset()
    this.asked((trip) => trip.clear(), undefined)
    return this.move("closed", reason)
  }

  get isolate(): Effect.Effect<void> {
    return Effect.suspend(() => (this.state === "isolated" ? Effect.void : emit(this.move("isolated", "isolated"))))
  }

  get reset(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.state !== "closed") return emit(this.close("reset"))
      this.asked((trip) => trip.clear(), undefined)
      this.epoch++
      return Effect.void
    })
  }

  /** In mode "observe", counts the refusal and runs the call. */
  private refuseOrObserve<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CircuitOpen, R> {
    if (!this.settings.observes) return this.refuse()
    this.settings.metrics.refused()
    return self
  }

  protected refuse(): Effect.Effect<never, CircuitOpen> {
    this.settings.metrics.refused()
    // While half-open or isolated, the time until a call may be admitted is unknown; one open time is an estimate.
    const millis = this.state === "open" ? this.untilDue() : this.settings.openTime.millis
    if (this.refusal === undefined || millis !== this.refusedFor) {
      this.refusedFor = millis
      this.refusal = this.makeRefusal(Duration.millis(millis))
    }
    return this.refusal
  }

  private makeRefusal(retryAfter: Duration.Duration): Effect.Effect<never, CircuitOpen> {
    // A closed breaker refuses no call; this only narrows the type.
    const state = this.state === "closed" ? "open" : this.state
    // An Exit is precomputed. `Effect.fail` would read the current span at each refusal.
    return Exit.fail(withoutStack(() => new CircuitOpen({ breaker: this.settings.name, state, retryAfter })))
  }

  /** Whether it is equivalent to a new breaker, so that its key may be evicted. */
  get isEvictable(): boolean {
    if (this.state !== "closed") return false
    const { failures, slow } = this.window(this.now())
    return failures === 0 && slow === 0
  }

  /** Called when its key is evicted. */
  evicted(): void {}

  snapshot(): Snapshot {
    const now = this.now()
    return {
      state: this.state,
      openings: this.openings,
      ...(this.state === "open" ? { retryAt: this.retryAt } : {}),
      window: this.window(now),
      memory: this.asked((trip) => trip.save(now), [])
    }
  }

  /** Restores a half-open breaker as open and due, since its probes ended with their process. */
  restore({ memory, openings, retryAt, state }: Snapshot): Effect.Effect<void> {
    const { metrics, openTime } = this.settings
    const now = this.now()
    this.asked((trip) => trip.load(memory), undefined)
    this.openings = Number.isInteger(openings) && openings >= 0 ? openings : 0
    this.state = state === "half-open" ? "open" : state
    this.retryAt = state === "open" && retryAt !== undefined && Number.isFinite(retryAt) ? retryAt : now
    metrics.state(this.state)
    // Advances the schedule once per earlier opening, but not for the current one.
    const steps = Math.max(0, Math.min(this.openings, maxRestoredOpenings) - 1)
    const catchUp = Effect.forEach(Array.from({ length: steps }), () => openTime.advance, { discard: true })
    const open = Effect.suspend(() => {
      this.openMillis = openTime.millis
      this.untilDue()
      return openTime.advance
    })
    return this.state === "open" ? Effect.zipRight(catchUp, open) : Effect.void
  }

  private window(now: number): Window {
    return this.asked((trip) => trip.window(now), { calls: 0, failures: 0, slow: 0 })
  }

  protected now(): number {
    return this.settings.clock.unsafeCurrentTimeMillis()
  }

  /** For durations: unlike the time of day, it is not set back or ahead. */
  private clockMillis(): number {
    return steadyMillis(this.settings.clock)
  }
}

/** A bound on the steps of the schedule that a restore repeats. */
const maxRestoredOpenings = 100

const unchanged: Effect.Effect<Change | undefined> = Effect.succeed(undefined)

export const emit = (change: Change | undefined): Effect.Effect<void> =>
  change === undefined ? Effect.void : Events.emit({ _tag: "BreakerChanged", source: {}, change })

/** Rules that go before the rules in force. */
export type Rules = ReadonlyArray<Fault.Rule> | undefined

const classify = (cause: Cause.Cause<unknown>, rules: Rules): Effect.Effect<Fault.Fault> =>
  Effect.map(Fault.classifier(rules), (classify) => classify(cause))

/** Fails with the cause of the call. A defect in the evaluation is added to it. */
const after = <E>(evaluated: Effect.Effect<void>, cause: Cause.Cause<E>): Effect.Effect<never, E> =>
  Effect.matchCauseEffect(evaluated, {
    onFailure: (bug) => Effect.failCause(Cause.sequential(cause, bug)),
    onSuccess: () => Effect.failCause(cause)
  })

/** True even if finalizers died during the interruption: there is no outcome to count. */
const isInterruption = (cause: Cause.Cause<unknown>): boolean => Cause.isInterrupted(cause) && !Cause.isFailure(cause)

/** Whether another breaker or a bulkhead refused the call, so that it did not run. */
const isRefusal = (cause: Cause.Cause<unknown>): boolean => {
  const error = Cause.failureOption(cause)
  return error._tag === "Some" && (error.value instanceof CircuitOpen || error.value instanceof BulkheadFull)
}
