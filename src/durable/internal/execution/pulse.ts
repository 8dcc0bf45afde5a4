import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"

/** Wakes all fibers that wait for the next change. */
export class Pulse {
  /** Completes at the next change. Another value than before means that something changed meanwhile. */
  next: Deferred.Deferred<void> = Deferred.unsafeMake(FiberId.none)

  readonly notify = (): void => {
    const { next } = this
    this.next = Deferred.unsafeMake(FiberId.none)
    Deferred.unsafeDone(next, Effect.void)
  }
}
