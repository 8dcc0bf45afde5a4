import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Events, Fault, Operation, Recovery, RecoveryPolicy, RetryBudget, RetryPolicy, Strategy } from "effect-recovery"
import { expectTypeOf } from "vitest"
import { toTheEnd } from "../support/resilience.js"

class Offline extends Data.TaggedError("Offline")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
}
class Denied extends Data.TaggedError("Denied")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "permission" })
}
type Failure = Offline | Denied

const counting = (error: Failure) => {
  const calls = { made: 0 }
  const effect: Effect.Effect<string, Failure> = Effect.suspend(() => {
    calls.made++
    return Effect.fail(error)
  })
  return { calls, effect }
}

const times = (maxRetries: number) => Strategy.retry(RetryPolicy.fixed({ maxRetries, delay: 1 }))

describe("Recovery.auto", () => {
  it.effect("selects by name, then by category, then the default", () =>
    Effect.gen(function* () {
      const policy = RecoveryPolicy.layer({
        names: { special: times(1) },
        categories: { network: times(2) },
        otherwise: times(3)
      })
      const attempts = (name: string, error: Failure) =>
        Effect.gen(function* () {
          const { calls, effect } = counting(error)
          yield* toTheEnd(effect.pipe(Recovery.auto(name), Effect.provide(policy)))
          return calls.made
        })
      assert.strictEqual(yield* attempts("special", new Offline()), 2)
      assert.strictEqual(yield* attempts("other", new Offline()), 3)
      assert.strictEqual(yield* attempts("other", new Denied()), 4)
      assert.strictEqual(yield* attempts("toString", new Denied()), 4)
    })
  )

  it.effect("without a policy it uses the table of categories; permanent failures surface at once", () =>
    Effect.gen(function* () {
      const offline = counting(new Offline())
      const exhausted = yield* Effect.flip(yield* toTheEnd(offline.effect.pipe(Recovery.auto("a"))))
      assert.deepInclude(exhausted, { _tag: "RecoveryExhausted", attempts: 5 })
      const denied = counting(new Denied())
      assert.deepStrictEqual(yield* toTheEnd(denied.effect.pipe(Recovery.auto("a"))), Exit.fail(new Denied()))
      assert.strictEqual(denied.calls.made, 1)
    })
  )

  it.effect("selects for each failure; each strategy has its own count", () =>
    Effect.gen(function* () {
      let calls = 0
      const both = Effect.suspend(() => Effect.fail(++calls % 2 === 1 ? new Offline() : new Denied()))
      const policy = RecoveryPolicy.layer({ categories: { network: times(2), permission: times(5) } })
      yield* toTheEnd(both.pipe(Recovery.auto("a"), Effect.provide(policy)))
      assert.strictEqual(calls, 5)
    })
  )

  it.effect("abort is final", () =>
    Effect.gen(function* () {
      const policy = RecoveryPolicy.layer({ otherwise: Strategy.abort })
      const { calls, effect } = counting(new Offline())
      assert.deepStrictEqual(
        yield* toTheEnd(effect.pipe(Recovery.auto("a"), Effect.provide(policy))),
        Exit.fail(new Offline())
      )
      assert.strictEqual(calls.made, 1)
    })
  )

  it.effect("one strategy for two categories counts each separately", () =>
    Effect.gen(function* () {
      let calls = 0
      const both = Effect.suspend(() => Effect.fail(++calls % 2 === 1 ? new Offline() : new Denied()))
      const twice = times(2)
      const policy = RecoveryPolicy.layer({ categories: { network: twice, permission: twice } })
      yield* toTheEnd(both.pipe(Recovery.auto("a"), Effect.provide(policy)))
      assert.strictEqual(calls, 5)
    })
  )

  it.effect("first attempts credit the budgets of their policy", () =>
    Effect.gen(function* () {
      const budget = yield* RetryBudget.make({ name: "policy", capacity: 4, ratio: 0.5, perSecond: 0 })
      const retry = Strategy.retry(RetryPolicy.fixed({ maxRetries: 4, delay: 1 }), { budget })
      const policy = RecoveryPolicy.layer({
        names: { special: Strategy.abort },
        categories: { network: retry },
        otherwise: retry
      })
      yield* toTheEnd(counting(new Offline()).effect.pipe(Recovery.auto("a"), Effect.provide(policy)))
      assert.strictEqual((yield* budget.snapshot).tokens, 0)
      yield* Effect.void.pipe(Recovery.auto("a"), Effect.provide(policy), Effect.repeatN(2))
      assert.strictEqual((yield* budget.snapshot).tokens, 1.5)
      yield* Effect.void.pipe(Recovery.auto("special"), Effect.provide(policy))
      assert.strictEqual((yield* budget.snapshot).tokens, 1.5)
    })
  )

  it.effect("an inner policy adds to the one around it", () =>
    Effect.gen(function* () {
      const outer = RecoveryPolicy.layer({ names: { charge: Strategy.abort }, otherwise: times(1) })
      const inner = RecoveryPolicy.layer({ categories: { network: times(3) } })
      const attempts = (name: string, error: Failure) =>
        Effect.gen(function* () {
          const { calls, effect } = counting(error)
          yield* toTheEnd(effect.pipe(Recovery.auto(name), Effect.provide(inner), Effect.provide(outer)))
          return calls.made
        })
      assert.strictEqual(yield* attempts("charge", new Offline()), 1)
      assert.strictEqual(yield* attempts("other", new Offline()), 4)
      assert.strictEqual(yield* attempts("other", new Denied()), 2)
    })
  )

  it("a strategy with a value or requirements cannot apply to any effect", () => {
    // @ts-expect-error whose value would it be?
    RecoveryPolicy.layer({ otherwise: Strategy.skip(1) })
    // @ts-expect-error no strategy handles the alternate's error
    RecoveryPolicy.layer({ names: { a: Strategy.alternate(() => Effect.fail("other")) } })
  })
})

describe("Recovery.named", () => {
  const atOnce = RecoveryPolicy.layer({ otherwise: Strategy.retry(RetryPolicy.none) })

  it.effect("without alternates it is auto", () =>
    Effect.gen(function* () {
      const { calls, effect } = counting(new Denied())
      const rate = Recovery.named("rate", (_currency: string) => effect)
      assert.strictEqual(rate.name, "rate")
      assert.deepStrictEqual(yield* toTheEnd(rate("EUR")), Exit.fail(new Denied()))
      assert.strictEqual(calls.made, 1)
    })
  )

  it.effect("alternates run in order, with the arguments of the call", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const rate = Recovery.named("rate", (currency: string, day: number) =>
        Effect.flatMap(
          Effect.sync(() => seen.push(`primary ${currency} ${day}`)),
          () => counting(new Denied()).effect
        )
      )
      const alternates = RecoveryPolicy.layerAlternates(
        rate,
        (currency, day) => {
          seen.push(`first ${currency} ${day}`)
          return Effect.fail(new Offline())
        },
        (currency) => {
          seen.push(`second ${currency}`)
          return Effect.succeed("from the second")
        }
      )
      const program = rate("EUR", 7).pipe(Effect.provide(alternates))
      // Alternates also apply to permanent failures.
      assert.deepStrictEqual(yield* toTheEnd(program), Exit.succeed("from the second"))
      assert.deepStrictEqual(seen, ["primary EUR 7", "first EUR 7", "second EUR"])
    })
  )

  it.effect("the strategy of the policy comes first, and its abort is final", () =>
    Effect.gen(function* () {
      const { calls, effect } = counting(new Offline())
      const rate = Recovery.named("rate", () => effect)
      const alternates = RecoveryPolicy.layerAlternates(rate, () => Effect.succeed("stand-in"))
      const retried = rate().pipe(Effect.provide([alternates, RecoveryPolicy.layer({ names: { rate: times(2) } })]))
      assert.deepStrictEqual(yield* toTheEnd(retried), Exit.succeed("stand-in"))
      assert.strictEqual(calls.made, 3)
      const aborted = rate().pipe(
        Effect.provide([alternates, RecoveryPolicy.layer({ categories: { network: Strategy.abort } })])
      )
      assert.deepStrictEqual(yield* toTheEnd(aborted), Exit.fail(new Offline()))
    })
  )

  it.effect("alternates use the services of their layer", () =>
    Effect.gen(function* () {
      class Cache extends Context.Tag("Cache")<Cache, string>() {}
      const rate = Recovery.named("rate", () => counting(new Offline()).effect)
      const alternates = RecoveryPolicy.layerAlternates(rate, () => Cache)
      expectTypeOf(alternates).toEqualTypeOf<Layer.Layer<never, never, Cache>>()
      class Other extends Context.Tag("Other")<Other, string>() {}
      const two = RecoveryPolicy.layerAlternates(
        rate,
        () => Cache,
        () => Other
      )
      expectTypeOf(two).toEqualTypeOf<Layer.Layer<never, never, Cache | Other>>()
      const program = rate().pipe(Effect.provide([Layer.provide(alternates, Layer.succeed(Cache, "cached")), atOnce]))
      assert.deepStrictEqual(yield* toTheEnd(program), Exit.succeed("cached"))
    })
  )

  it.effect("alternates prefer the services of their layer to those of the call", () =>
    Effect.gen(function* () {
      class Db extends Context.Tag("Db")<Db, string>() {}
      const rate = Recovery.named("rate", () =>
        Effect.flatMap(Db, (db) => (db === "primary" ? Effect.fail(new Denied()) : Effect.succeed(db)))
      )
      const fallback = Layer.provide(
        RecoveryPolicy.layerAlternates(rate, () => Db),
        Layer.succeed(Db, "replica")
      )
      const program = rate().pipe(Effect.provide([fallback, Layer.succeed(Db, "primary")]))
      assert.deepStrictEqual(yield* toTheEnd(program), Exit.succeed("replica"))
    })
  )

  it.effect("alternates run in the span of their call", () =>
    Effect.gen(function* () {
      const rate = Recovery.named("rate", () => counting(new Denied()).effect)
      const alternates = RecoveryPolicy.layerAlternates(rate, () =>
        Effect.map(Effect.orDie(Effect.currentParentSpan), (span) => (span._tag === "Span" ? span.name : "external"))
      )
      const program = rate().pipe(Effect.withSpan("request"), Effect.provide([alternates, atOnce]))
      assert.deepStrictEqual(yield* toTheEnd(program), Exit.succeed("Recovery.rate"))
    })
  )

  it.effect("two effects of one name do not share alternates", () =>
    Effect.gen(function* () {
      const one = Recovery.named("same", () => counting(new Offline()).effect)
      const other = Recovery.named("same", () => counting(new Denied()).effect)
      const alternates = RecoveryPolicy.layerAlternates(one, () => Effect.succeed("one's"))
      const provided = Effect.provide([alternates, atOnce])
      assert.deepStrictEqual(yield* toTheEnd(provided(one())), Exit.succeed("one's"))
      assert.isTrue(Exit.isFailure(yield* toTheEnd(provided(other()))))
    })
  )

  it("alternates are typed by the definition they stand in for", () => {
    const rate = Recovery.named(
      "rate",
      (currency: string): Effect.Effect<number, Offline> => Effect.succeed(currency.length)
    )
    expectTypeOf(rate("EUR")).toEqualTypeOf<
      Effect.Effect<number, Offline | Recovery.RecoveryExhausted<Offline>, never>
    >()
    // @ts-expect-error a text is no rate
    RecoveryPolicy.layerAlternates(rate, () => Effect.succeed("text"))
    // @ts-expect-error an error the definition does not have
    RecoveryPolicy.layerAlternates(rate, () => Effect.fail(new Denied()))
    // @ts-expect-error an argument the definition does not have
    RecoveryPolicy.layerAlternates(rate, (_currency: number) => Effect.succeed(1))
  })
})

describe("the name of a decision", () => {
  /** The decisions on record, with their strategies. */
  const decisionsOf = <A>(self: Effect.Effect<A, unknown>, policy: Layer.Layer<never> = Layer.empty) =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const observe = (event: Events.Event) =>
        Effect.sync(() => {
          if (event._tag === "Decided") told.push(`${event.strategy} ${event.decision}`)
        })
      const exit = yield* toTheEnd(self.pipe(Effect.provide(policy), Effect.provide(Events.layer(observe))))
      const error = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
      if (Option.isSome(error) && error.value instanceof Recovery.RecoveryExhausted) {
        const { decisions } = error.value
        assert.deepStrictEqual(
          decisions.map(({ decision, strategy }) => `${strategy} ${decision}`),
          told
        )
      }
      return told
    })
  const { effect } = counting(new Offline())

  it.effect("is that of the strategy that decided, for auto, named and withRecovery", () =>
    Effect.gen(function* () {
      const once = times(1)
      const policy = RecoveryPolicy.layer({ names: { load: once }, otherwise: Strategy.abort })
      const twice = ["retry Again", "retry GiveUp"]
      assert.deepStrictEqual(yield* decisionsOf(effect.pipe(Recovery.auto("load")), policy), twice)
      assert.deepStrictEqual(yield* decisionsOf(effect.pipe(Recovery.auto("other")), policy), ["abort GiveUp"])
      assert.deepStrictEqual(yield* decisionsOf(Recovery.named("load", () => effect)(), policy), twice)
      assert.deepStrictEqual(yield* decisionsOf(effect.pipe(Operation.withRecovery("nightly", "load")), policy), twice)
      const load = Recovery.named("load", () => effect)
      const alternates = RecoveryPolicy.layerAlternates(load, () => Effect.succeed("mirror"))
      const withAlternates = Layer.merge(policy, alternates)
      assert.deepStrictEqual(yield* decisionsOf(load(), withAlternates), ["retry Again", "alternate Instead"])
    })
  )

  it.effect("stays through limits, nested sequences and failed alternatives", () =>
    Effect.gen(function* () {
      const fails = Strategy.alternate(() => effect)
      const policy = RecoveryPolicy.layer({
        otherwise: Strategy.sequence(times(9), Strategy.sequence(Strategy.abort)) as RecoveryPolicy.AnyStrategy
      })
      const limited = effect.pipe(Recovery.auto("load", { maxDecisions: 2 }))
      assert.deepStrictEqual(yield* decisionsOf(limited, policy), ["retry Again", "retry Again", "abort GiveUp"])
      const nested = Strategy.sequence(Strategy.skip("x"), Strategy.sequence(fails, fails))
      const all = effect.pipe(Recovery.recover({ Offline: nested, Denied: nested }))
      assert.deepStrictEqual(yield* decisionsOf(all), ["skip Instead"])
      const lone = effect.pipe(
        Recovery.recover({ Offline: Strategy.sequence(fails, times(1)), Denied: fails }, { maxDecisions: 1 })
      )
      assert.deepStrictEqual(yield* decisionsOf(lone), ["alternate Instead", "retry GiveUp"])
    })
  )

  it.effect("is the key of the candidate in Strategy.auto, by which results are ranked", () =>
    Effect.gen(function* () {
      const auto = Strategy.auto({ patient: Strategy.sequence(times(1), times(1)), cached: Strategy.skip("x") })
      const found = yield* decisionsOf(effect.pipe(Recovery.recover({ Offline: auto, Denied: auto })))
      assert.deepStrictEqual(found, ["patient Again", "patient Again", "cached Instead"])
    })
  )
})
