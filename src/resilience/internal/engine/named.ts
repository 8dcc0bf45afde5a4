import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as RecoveryPolicy from "../../RecoveryPolicy.js"
import * as RetryPolicy from "../../RetryPolicy.js"
import * as Strategy from "../../Strategy.js"
import { checkLimits } from "../kernel/options.js"
import { creditBudgets, type Hooks, type Limits, planForAll, recover } from "../kernel/recovery.js"
import { traced } from "../kernel/tracing.js"
import { attempts } from "../retry/attempts.js"

/**
 * An effect with a name: how its failures are answered is up to the
 * `RecoveryPolicy` it runs with, and layers may register other ways to its
 * result.
 *
 * @since 0.1.0
 * @category models
 */
export interface Named<Args extends ReadonlyArray<unknown>, A, E, R> {
  (...args: Args): Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R>
  readonly name: string
  /** Where its alternates are looked up. */
  readonly alternates: Context.Tag<Alternates, ReadonlyArray<Alternate<Args, A, E>>>
}

/**
 * Another way to the result of a named effect: a function of the same form.
 *
 * @since 0.1.0
 * @category models
 */
export type Alternate<Args extends ReadonlyArray<unknown>, A, E, R = never> = (...args: Args) => Effect.Effect<A, E, R>

/**
 * The alternates of one named effect, in an environment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Alternates {
  readonly _: "effect-recovery/Recovery/Alternates"
}

export interface Options extends Limits {
  readonly hooks?: Hooks | undefined
}

const byDefault = RetryPolicy.byCategory()
const lastOfAll = attempts({ policy: byDefault, refused: "abort" })
const beforeAlternates = attempts({ policy: byDefault, refused: "exhausted" })

/** The strategy of the policy in force; each entry of the policy has its own memory. */
const byPolicy = (name: string, otherwise: RecoveryPolicy.AnyStrategy): RecoveryPolicy.AnyStrategy =>
  Strategy.fromOpen(`auto(${name})`, () => {
    const drivers = new Map<string, ReturnType<RecoveryPolicy.AnyStrategy["open"]>>()
    return (failure) =>
      Effect.flatMap(RecoveryPolicy.Current, (policy) => {
        const [key, strategy] = entryOf(policy, name, failure.fault.category) ?? ["otherwise", otherwise]
        const driver = drivers.get(key) ?? strategy.open()
        drivers.set(key, driver)
        return driver(failure)
      })
  })

const entryOf = (
  { categories = {}, names = {}, otherwise }: RecoveryPolicy.RecoveryPolicy,
  name: string,
  category: string
): readonly [key: string, strategy: RecoveryPolicy.AnyStrategy] | undefined => {
  const byName = own(names, name)
  if (byName !== undefined) return ["name", byName]
  const byCategory = own(categories, category)
  if (byCategory !== undefined) return [`category ${category}`, byCategory]
  return otherwise === undefined ? undefined : ["otherwise", otherwise]
}

const own = <A>(table: { readonly [key: string]: A | undefined }, key: string): A | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

/** What does not change from call to call. */
const settingsOf = (name: string, options: Options | undefined) => ({
  source: { recovery: name },
  name,
  limits: checkLimits(options),
  hooks: options?.hooks
})

const run = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  strategy: Strategy.For<never>,
  settings: ReturnType<typeof settingsOf>
): Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R> => {
  const recovered = recover(self, planForAll(strategy), settings)
  const earned = Effect.flatMap(RecoveryPolicy.Current, (policy) =>
    creditBudgets(RecoveryPolicy.budgetsOf(policy, settings.name), recovered)
  )
  // The strategies give values of A if any, and fail with the error itself or exhausted.
  return traced(`Recovery.${settings.name}`, () => ({}), earned) as Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R>
}

export const auto = (name: string, options?: Options) => {
  const strategy = byPolicy(name, lastOfAll)
  const settings = settingsOf(name, options)
  return <A, E, R>(self: Effect.Effect<A, E, R>) => run(self, strategy, settings)
}

let count = 0

export const named = <Args extends ReadonlyArray<unknown>, A, E, R>(
  name: string,
  effect: (...args: Args) => Effect.Effect<A, E, R>,
  options?: Options
): Named<Args, A, E, R> => {
  // Two effects of one name have types of their own, and so must have alternates of their own.
  const alternates = Context.GenericTag<Alternates, ReadonlyArray<Alternate<Args, A, E>>>(
    `effect-recovery/Recovery/Alternates/${name}/${count++}`
  )
  const settings = settingsOf(name, options)
  const call = (...args: Args) =>
    run(
      Effect.suspend(() => effect(...args)),
      withAlternates(name, alternates, args),
      settings
    )
  return Object.defineProperty(Object.assign(call, { alternates }), "name", { value: name })
}

/** Which alternates there are is looked up at the first failure. */
const withAlternates = <Args extends ReadonlyArray<unknown>, A, E>(
  name: string,
  tag: Context.Tag<Alternates, ReadonlyArray<Alternate<Args, A, E>>>,
  args: Args
): Strategy.Strategy<E, A, E | Strategy.Original | Strategy.Exhausted> =>
  Strategy.fromOpen(`auto(${name})`, () =>
    Strategy.openLate(
      Effect.contextWith((context: Context.Context<never>) => {
        const found = Context.getOption(context, tag)
        const alternates = found._tag === "Some" ? found.value : []
        if (alternates.length === 0) return byPolicy(name, lastOfAll).open()
        const others = alternates.map((alternate) => Strategy.alternate((_: E) => alternate(...args)))
        // The alternates give values of A and fail with E, as their type says.
        return Strategy.sequence(byPolicy(name, beforeAlternates), ...others).open() as Driver<A, E>
      })
    )
  )

type Driver<A, E> = Strategy.Driver<E, A, E | Strategy.Original | Strategy.Exhausted, never>
