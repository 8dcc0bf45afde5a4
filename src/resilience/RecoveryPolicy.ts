/**
 * A `RecoveryPolicy` says in one place how failures are answered: by the name
 * of what failed, by the category of the failure, and for the rest. Programs
 * say `Recovery.auto("name")` and leave the answer to the layer they run with.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Tracer from "effect/Tracer"
import type * as Fault from "./Fault.js"
import type { Alternate, Named } from "./Recovery.js"
import type { RetryBudget } from "./RetryBudget.js"
import type * as Strategy from "./Strategy.js"

/**
 * A strategy that invents no values and needs nothing, so that it can stand
 * for any effect.
 *
 * @since 0.1.0
 * @category models
 */
export type AnyStrategy = Strategy.Strategy<unknown, never, Strategy.Original | Strategy.Exhausted>

/**
 * @since 0.1.0
 * @category models
 */
export interface RecoveryPolicy {
  /** By the name given to `Recovery.auto` or `Recovery.named`; asked first. */
  readonly names?: { readonly [name: string]: AnyStrategy } | undefined
  /** By the category of the fault. */
  readonly categories?: { readonly [category in Fault.Category]?: AnyStrategy } | undefined
  /**
   * For the rest. Defaults to retrying what may go away by itself, as
   * `RetryPolicy.byCategory()` says; what will not surfaces at once.
   */
  readonly otherwise?: AnyStrategy | undefined
}

/**
 * The policy in force.
 *
 * @since 0.1.0
 * @category services
 */
export class Current extends Context.Reference<Current>()("effect-recovery/RecoveryPolicy/Current", {
  defaultValue: (): RecoveryPolicy => ({})
}) {}

/**
 * Provides a policy. What it does not name is answered by that of a layer
 * around it, so that an `abort` out there still holds in here.
 *
 * @example
 * ```ts
 * import { Recovery, RecoveryPolicy, RetryPolicy, Strategy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const policy = RecoveryPolicy.layer({
 *   names: { "charge-card": Strategy.abort },
 *   categories: { network: Strategy.retry(RetryPolicy.fixed({ delay: "10 millis" })) }
 * })
 *
 * let attempts = 0
 * const rates = Effect.suspend(() => {
 *   attempts++
 *   return attempts < 3 ? Effect.fail({ code: "ECONNRESET" }) : Effect.succeed(1.08)
 * })
 *
 * const program = rates.pipe(Recovery.auto("rates"), Effect.provide(policy))
 * Effect.runPromise(program).then((rate) => console.log(rate, attempts)) // 1.08 3
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (policy: RecoveryPolicy): Layer.Layer<never> =>
  Layer.effect(
    Current,
    Effect.map(Current, (around) => ({
      names: { ...around.names, ...policy.names },
      categories: { ...around.categories, ...policy.categories },
      otherwise: policy.otherwise ?? around.otherwise
    }))
  )

/**
 * Registers other ways to the result of a named effect, in the order to try
 * them: once its strategy is exhausted, the first is asked, and so on. They are
 * functions of the same form: of its arguments, to its values, failing, if at
 * all, with its errors. A second layer for the same effect takes the place of the first.
 *
 * @example
 * ```ts
 * import { Recovery, RecoveryPolicy, RetryPolicy, Strategy } from "effect-recovery"
 * import { Data, Effect } from "effect"
 *
 * class Down extends Data.TaggedError("Down")<{}> {}
 *
 * const rate = Recovery.named("rate", (currency: string): Effect.Effect<number, Down> => Effect.fail(new Down()))
 *
 * const withFallback = RecoveryPolicy.layerAlternates(rate, (currency) => Effect.succeed(currency === "EUR" ? 1 : 2))
 * const atOnce = RecoveryPolicy.layer({ names: { rate: Strategy.retry(RetryPolicy.none) } })
 *
 * Effect.runPromise(rate("EUR").pipe(Effect.provide([withFallback, atOnce]))).then(console.log) // 1
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAlternates = <
  Args extends ReadonlyArray<unknown>,
  A,
  E,
  R,
  Alternates extends readonly [Alternate<Args, A, E, unknown>, ...ReadonlyArray<Alternate<Args, A, E, unknown>>]
>(
  named: Named<Args, A, E, R>,
  ...alternates: Alternates
): Layer.Layer<never, never, Effect.Effect.Context<ReturnType<Alternates[number]>>> =>
  Layer.effect(
    named.alternates,
    Effect.map(Effect.context<Effect.Effect.Context<ReturnType<Alternates[number]>>>(), (built) =>
      alternates.map((alternate): Alternate<Args, A, E> => {
        // What any of them needs is, by its definition, the context the layer is built in.
        const path = alternate as Alternate<Args, A, E, Effect.Effect.Context<ReturnType<Alternates[number]>>>
        // What the layer was given is the alternate's own; the span is that of the call.
        const own = Context.omit(Tracer.ParentSpan)(built) as typeof built
        return (...args) =>
          Effect.mapInputContext(path(...args), (call: Context.Context<never>) => Context.merge(call, own))
      })
    )
  )

/**
 * What the retries of a named effect may be paid from.
 *
 * @internal
 */
export const budgetsOf = (policy: RecoveryPolicy, name: string): ReadonlyArray<RetryBudget> => {
  const named = policy.names !== undefined && Object.hasOwn(policy.names, name) ? policy.names[name] : undefined
  if (named !== undefined) return named.budgets
  const known = general.get(policy)
  if (known !== undefined) return known
  const strategies = [...Object.values(policy.categories ?? {}), policy.otherwise]
  const budgets = [...new Set(strategies.flatMap((strategy) => strategy?.budgets ?? []))]
  general.set(policy, budgets)
  return budgets
}

/** Asked at each call, so put together once. */
const general = new WeakMap<RecoveryPolicy, ReadonlyArray<RetryBudget>>()
