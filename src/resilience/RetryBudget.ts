/**
 * A retry budget limits the retries of all callers together, so that retries do
 * not overload a failing system. A policy limits the retries of one call only.
 *
 * It is a token bucket. Each first attempt earns a fraction of a token, time
 * earns more, and each retry costs one token when it starts. The design and the
 * default ratio follow Finagle's `RetryBudget`.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { checkName } from "./InvalidName.js"
import { budgetMetrics } from "./internal/kernel/metrics.js"
import { fraction, number, whole } from "./internal/kernel/options.js"
import { steadyMillis } from "./internal/kernel/timer.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~effect-recovery/RetryBudget"
/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~effect-recovery/RetryBudget"

/**
 * A budget that callers share.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryBudget {
  readonly [TypeId]: TypeId
  readonly name: string
  readonly snapshot: Effect.Effect<Snapshot>
  /** @internal */
  readonly tokens: TokenBucket
}

/**
 * The current state of a budget.
 *
 * @since 0.1.0
 * @category models
 */
export interface Snapshot {
  /** Available tokens. A retry costs a whole one. */
  readonly tokens: number
  /** Retries that started. */
  readonly spent: number
  /** Retries that were refused. */
  readonly refused: number
}

/**
 * Options of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The name in metrics. */
  readonly name: string
  /** Tokens that each first attempt earns, 0 to 1. Defaults to 0.2: one retry for five calls. */
  readonly ratio?: number | undefined
  /** Tokens earned per second, so that retries are possible under low load. 0 earns none. Defaults to 1. */
  readonly perSecond?: number | undefined
  /** The maximum and initial number of tokens. Defaults to 10. */
  readonly capacity?: number | undefined
}

/**
 * Makes a budget. Dies with `InvalidOption` if an option is invalid. Callers of
 * one system should share a budget, for example through a Layer.
 *
 * @example
 * ```ts
 * import { RetryBudget, RetryPolicy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const budget = yield* RetryBudget.make({ name: "rates", capacity: 2, perSecond: 0, ratio: 0 })
 *   const rates = Effect.fail("down").pipe(RetryPolicy.retry(RetryPolicy.fixed({ delay: 0 }), { budget }))
 *   yield* Effect.flip(rates)
 *   return yield* budget.snapshot
 * })
 * Effect.runPromise(program).then(console.log) // { tokens: 0, spent: 2, refused: 1 }
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ capacity = 10, name, perSecond = 1, ratio = 0.2 }: Options): Effect.Effect<RetryBudget> =>
  Effect.map(Effect.clock, (clock) => {
    const tokens = new TokenBucket({
      clock,
      capacity: whole("capacity", capacity, 1),
      ratio: fraction("ratio", ratio),
      perMilli: number("perSecond", perSecond, 0) / 1_000,
      metrics: budgetMetrics(checkName("retry budget", name))
    })
    return { [TypeId]: TypeId, name, tokens, snapshot: Effect.sync(() => tokens.snapshot()) }
  })

interface Settings {
  readonly clock: Clock.Clock
  readonly capacity: number
  /** Tokens that each first attempt earns. */
  readonly ratio: number
  readonly perMilli: number
  readonly metrics: ReturnType<typeof budgetMetrics>
}

/** Has no timer: adds the tokens earned by time when it is read. */
class TokenBucket {
  private tokens: number
  private filledAt: number
  private spent = 0
  private refused = 0

  private readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
    this.tokens = settings.capacity
    this.filledAt = steadyMillis(settings.clock)
  }

  /** Credits the first attempt when it starts. */
  credit<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      this.add(this.settings.ratio)
      return self
    })
  }

  /** Takes a token for a retry. Returns whether there was one. */
  debit(): boolean {
    this.fill()
    // Ten times 0.1 is slightly below 1 in floating point.
    if (this.tokens < 1 - 1e-9) {
      this.refused++
      this.settings.metrics.refused()
      return false
    }
    this.tokens = Math.max(0, this.tokens - 1)
    this.spent++
    return true
  }

  private fill(): void {
    const now = steadyMillis(this.settings.clock)
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
