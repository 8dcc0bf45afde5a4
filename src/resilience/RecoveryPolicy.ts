/**
 * A `RecoveryPolicy` chooses strategies in one place: by the name of the failed
 * effect, by the category of the failure, and by default. Programs use
 * `Recovery.auto("name")`, and a layer provides the policy.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Tracer from "effect/Tracer"
import type * as Fault from "./Fault.js"
import { providing } from "./internal/kernel/standing.js"
import type { Named } from "./Recovery.js"
import type { RetryBudget } from "./RetryBudget.js"
import type * as Strategy from "./Strategy.js"

/**
 * A strategy without values and requirements of its own, so that it fits any
 * effect.
 *
 * @since 0.1.0
 * @category models
 */
export type AnyStrategy = Strategy.Strategy<unknown, never, Strategy.Original | Strategy.Exhausted>

/**
 * Strategies by name and category.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecoveryPolicy {
  /** By the name in `Recovery.auto` or `Recovery.named`. Names go before categories. */
  readonly names?: { readonly [name: string]: AnyStrategy } | undefined
  /** By the category of the fault. */
  readonly categories?: { readonly [category in Fault.Category]?: AnyStrategy } | undefined
  /**
   * For all other failures. Defaults to retries by `RetryPolicy.byCategory()`;
   * failures that it does not retry surface at once.
   */
  readonly otherwise?: AnyStrategy | undefined
}

/**
 * The policy in force. Defaults to an empty one.
 *
 * @since 0.1.0
 * @category services
 */
export class Current extends Context.Reference<Current>()("effect-recovery/RecoveryPolicy/Current", {
  defaultValue: (): RecoveryPolicy => ({})
}) {}

/**
 * Provides a policy. Names and categories that it lacks are inherited from the
 * policy of an outer layer.
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
    Effect.zipLeft(
      Effect.map(Current, (around) => ({
        names: { ...around.names, ...policy.names },
        categories: { ...around.categories, ...policy.categories },
        otherwise: policy.otherwise ?? around.otherwise
      })),
      providing("RecoveryPolicy.layer", Current)
    )
  )

/**
 * An alternative to a named effect: a function of the same type.
 *
 * @since 0.1.0
 * @category models
 */
export type Alternate<Args extends ReadonlyArray<unknown>, A, E, R = never> = (...args: Args) => Effect.Effect<A, E, R>

/**
 * The identifier of the service with the alternates of a named effect.
 *
 * @since 0.1.0
 * @category models
 */
export interface Alternates {
  readonly _: "effect-recovery/Recovery/Alternates"
}

/**
 * Registers alternatives to a named effect. When its strategy is exhausted, they
 * are tried in this order. An alternative takes the same arguments, returns the
 * same values and may fail with the same errors. A second layer for the same
 * effect replaces the first.
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
        // The layer requires the services of all alternates, so `built` contains those of this one.
        const path = alternate as Alternate<Args, A, E, Effect.Effect.Context<ReturnType<Alternates[number]>>>
        // The alternate uses the services of the layer, but the parent span of the call.
        const own = Context.omit(Tracer.ParentSpan)(built) as typeof built
        return (...args) =>
          Effect.mapInputContext(path(...args), (call: Context.Context<never>) => Context.merge(call, own))
      })
    )
  )

/**
 * The entry for a failure, and its key: by name, else by category, else the default.
 *
 * @internal
 */
export const entryOf = (
  { categories = {}, names = {}, otherwise }: RecoveryPolicy,
  name: string,
  category: string
): readonly [key: string, strategy: AnyStrategy] | undefined => {
  const byName = ownProperty(names, name)
  if (byName !== undefined) return ["name", byName]
  const byCategory = ownProperty(categories, category)
  if (byCategory !== undefined) return [`category ${category}`, byCategory]
  return otherwise === undefined ? undefined : ["otherwise", otherwise]
}

const ownProperty = <A>(table: { readonly [key: string]: A | undefined }, key: string): A | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

/**
 * The budgets that pay for retries of a named effect.
 *
 * @internal
 */
export const budgetsOf = (policy: RecoveryPolicy, name: string): ReadonlyArray<RetryBudget> => {
  const named = ownProperty(policy.names ?? {}, name)
  if (named !== undefined) return named.budgets
  const known = generalBudgets.get(policy)
  if (known !== undefined) return known
  const strategies = [...Object.values(policy.categories ?? {}), policy.otherwise]
  const budgets = [...new Set(strategies.flatMap((strategy) => strategy?.budgets ?? []))]
  generalBudgets.set(policy, budgets)
  return budgets
}

/** Cached per policy, since it is read at each call. */
const generalBudgets = new WeakMap<RecoveryPolicy, ReadonlyArray<RetryBudget>>()
