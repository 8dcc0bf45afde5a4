import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Snapshot } from "../../RetryBudget.js"
import type { budgetMetrics } from "../kernel/metrics.js"

interface Settings {
  readonly clock: Clock.Clock
  readonly capacity: number
  /** Earned by each first attempt. */
  readonly ratio: number
  readonly perMilli: number
  readonly meters: ReturnType<typeof budgetMetrics>
}

/** A bucket that fills with time and with work; without timers, it is filled when it is looked into. */
export class Tokens {
  private tokens: number
  private filledAt: number
  private spent = 0
  private refused = 0

  private readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
    this.tokens = settings.capacity
    this.filledAt = settings.clock.unsafeCurrentTimeMillis()
  }

  /** Credits the first attempt when it starts. */
  credit<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      this.add(this.settings.ratio)
      return self
    })
  }

  /** Whether a retry may start. */
  debit(): boolean {
    this.fill()
    // Ten tenths are less than one whole.
    if (this.tokens < 1 - 1e-9) {
      this.refused++
      this.settings.meters.refused()
      return false
    }
    this.tokens = Math.max(0, this.tokens - 1)
    this.spent++
    return true
  }

  private fill(): void {
    const now = this.settings.clock.unsafeCurrentTimeMillis()
    // A clock that goes back takes nothing away.
    this.add(Math.max(0, now - this.filledAt) * this.settings.perMilli)
    this.filledAt = now
  }

  private add(tokens: number): void {
    this.tokens = Math.min(this.settings.capacity, this.tokens + tokens)
  }

  snapshot(): Snapshot {
    this.fill()
    return { tokens: this.tokens, spent: this.spent, refused: this.refused }
  }
}
