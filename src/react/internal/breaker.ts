import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Snapshot, State } from "../CircuitBreaker.js"
import * as Fault from "../Fault.js"

interface Settings {
  readonly failures: number
  readonly resetMillis: number
  readonly probes: number
  readonly counts: (fault: Fault.Fault) => boolean
}

/** Plain fields, since every call passes here; single-threaded JavaScript makes each method atomic. */
export class Breaker {
  private state: State = "closed"
  private failures = 0
  private retryAt = 0
  /** Probes on their way, and those that came back well. */
  private probing = 0
  private recovered = 0
  /** Calls from before the last change of state do not speak for the present one. */
  private epoch = 0

  private readonly clock: Clock.Clock
  private readonly settings: Settings

  constructor(clock: Clock.Clock, settings: Settings) {
    this.clock = clock
    this.settings = settings
  }

  protect<A, E, R, E2>(self: Effect.Effect<A, E, R>, refuse: Effect.Effect<never, E2>): Effect.Effect<A, E | E2, R> {
    // A probe is admitted where nothing can interrupt, or its place would be lost between here and there.
    const guarded = Effect.uninterruptibleMask((restore) =>
      Effect.suspend((): Effect.Effect<A, E | E2, R> => {
        if (this.state === "closed") return restore(this.call(self))
        return this.admitProbe() ? this.probe(restore(self)) : refuse
      })
    )
    return Effect.suspend(() => (this.state === "closed" ? this.call(self) : guarded))
  }

  private call<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const epoch = this.epoch
    return Effect.matchCauseEffect(self, {
      onFailure: (cause) => this.failed(cause, epoch),
      onSuccess: (value) => {
        if (epoch === this.epoch) this.failures = 0
        return Effect.succeed(value)
      }
    })
  }

  private failed<E>(cause: Cause.Cause<E>, epoch: number): Effect.Effect<never, E> {
    if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause)
    return Effect.flatMap(Fault.classify(cause), (fault) => {
      if (epoch === this.epoch && this.settings.counts(fault)) this.count()
      return Effect.failCause(cause)
    })
  }

  private count(): void {
    this.failures++
    if (this.failures >= this.settings.failures) this.open()
  }

  private open(): void {
    this.move("open")
    this.retryAt = this.now() + this.settings.resetMillis
  }

  private move(state: State): void {
    this.state = state
    this.epoch++
    this.probing = 0
    this.recovered = 0
  }

  private admitProbe(): boolean {
    if (this.state === "open" && this.now() >= this.retryAt) this.move("half-open")
    if (this.state !== "half-open" || this.probing + this.recovered >= this.settings.probes) return false
    this.probing++
    return true
  }

  /** Whatever ends the probe, its place is given back or its verdict counted. */
  private probe<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const epoch = this.epoch
    return Effect.matchCauseEffect(self, {
      onFailure: (cause) => Effect.zipRight(this.probeFailed(cause, epoch), Effect.failCause(cause)),
      onSuccess: (value) => {
        this.probePassed(epoch)
        return Effect.succeed(value)
      }
    })
  }

  private probeFailed(cause: Cause.Cause<unknown>, epoch: number): Effect.Effect<void> {
    return Effect.map(Fault.classify(cause), (fault) => {
      if (epoch !== this.epoch) return
      if (Cause.isInterruptedOnly(cause)) this.probing--
      else if (this.settings.counts(fault)) this.open()
      // The system answered, if only with a refusal: it is there again.
      else this.probePassed(epoch)
    })
  }

  private probePassed(epoch: number): void {
    if (epoch !== this.epoch) return
    this.probing--
    this.recovered++
    if (this.recovered >= this.settings.probes) this.reset()
  }

  isolate(): void {
    this.move("isolated")
  }

  reset(): void {
    this.move("closed")
    this.failures = 0
  }

  /** Until a call has a chance. While probes are out, or isolated, nobody knows: another period is a fair guess. */
  waitMillis(): number {
    return this.state === "open" ? Math.max(0, this.retryAt - this.now()) : this.settings.resetMillis
  }

  snapshot(): Snapshot {
    const retryAt = this.state === "open" ? this.retryAt : undefined
    return { state: this.state, failures: this.failures, retryAt }
  }

  private now(): number {
    return this.clock.unsafeCurrentTimeMillis()
  }
}
