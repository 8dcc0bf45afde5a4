import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { pipe } from "effect/Function"
import { type Bulkhead, type CircuitBreaker, Decision, Recovery, RetryPolicy, Strategy } from "effect-recovery"
import { describe, expectTypeOf, it } from "vitest"

class Offline extends Data.TaggedError("Offline")<{ readonly host: string }> {}
class NotFound extends Data.TaggedError("NotFound")<{ readonly path: string }> {}
class Denied extends Data.TaggedError("Denied")<{}> {}
class MirrorDown extends Data.TaggedError("MirrorDown")<{}> {}
class Mirror extends Context.Tag("Mirror")<Mirror, { readonly url: string }>() {}

const download: Effect.Effect<string, Offline | NotFound | Denied> = Effect.fail(new Denied())
const fromMirror: Effect.Effect<number, MirrorDown, Mirror> = Effect.fail(new MirrorDown())

describe("Recovery.recover, in types", () => {
  it("an exhausted retry leaves RecoveryExhausted of its own tag", () => {
    const program = download.pipe(Recovery.recover({ Offline: Strategy.retry() }))
    expectTypeOf(program).toEqualTypeOf<
      Effect.Effect<string, NotFound | Denied | Recovery.RecoveryExhausted<Offline>, never>
    >()
  })

  it("a skipped tag leaves, and its substitute widens the value", () => {
    const program = download.pipe(Recovery.recover({ NotFound: Strategy.skip(404) }))
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<string | number, Offline | Denied, never>>()
  })

  it("an alternate brings its own value, error and requirements", () => {
    const program = download.pipe(Recovery.recover({ Offline: Strategy.alternate(() => fromMirror) }))
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<string | number, NotFound | Denied | MirrorDown, Mirror>>()
  })

  it("an alternate sees the error of its tag", () => {
    download.pipe(
      Recovery.recover({
        Offline: Strategy.alternate((error, failure) => {
          expectTypeOf(error).toEqualTypeOf<Offline>()
          expectTypeOf(failure.error).toEqualTypeOf<Offline>()
          return Effect.succeed(error.host)
        })
      })
    )
  })

  it("an aborted tag stays", () => {
    const program = download.pipe(Recovery.recover({ Denied: Strategy.abort }))
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<string, Offline | NotFound | Denied, never>>()
  })

  it("of a sequence only the last failures surface, and an abort on the way", () => {
    const toValue = download.pipe(
      Recovery.recover({
        Offline: Strategy.sequence(
          Strategy.retry(),
          Strategy.alternate(() => fromMirror),
          Strategy.skip(true)
        )
      })
    )
    expectTypeOf(toValue).toEqualTypeOf<Effect.Effect<string | number | boolean, NotFound | Denied, Mirror>>()

    const toAlternate = download.pipe(
      Recovery.recover({
        Offline: Strategy.sequence(
          Strategy.retry(),
          Strategy.alternate(() => fromMirror)
        )
      })
    )
    expectTypeOf(toAlternate).toEqualTypeOf<Effect.Effect<string | number, NotFound | Denied | MirrorDown, Mirror>>()

    const toOriginal = download.pipe(Recovery.recover({ Offline: Strategy.sequence(Strategy.retry(), Strategy.abort) }))
    expectTypeOf(toOriginal).toEqualTypeOf<Effect.Effect<string, Offline | NotFound | Denied, never>>()
  })

  it("several tags at once", () => {
    const program = pipe(
      download,
      Recovery.recover({ Offline: Strategy.retry(), NotFound: Strategy.skip(null), Denied: Strategy.abort })
    )
    expectTypeOf(program).toEqualTypeOf<
      Effect.Effect<string | null, Denied | Recovery.RecoveryExhausted<Offline>, never>
    >()
  })

  it("data-first reads the same", () => {
    const program = Recovery.recover(download, { Offline: Strategy.skip(0) })
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<string | number, NotFound | Denied, never>>()
  })

  it("a user's own strategy is typed by its decisions", () => {
    const own = Strategy.make("own", (failure: Strategy.Failure<Offline>) =>
      failure.attempt < 3 ? Decision.again("1 second") : Decision.instead(fromMirror)
    )
    const program = download.pipe(Recovery.recover({ Offline: own }))
    expectTypeOf(program).toEqualTypeOf<
      Effect.Effect<
        string | number,
        Offline | NotFound | Denied | MirrorDown | Recovery.RecoveryExhausted<Offline>,
        Mirror
      >
    >()
  })

  it("a handler that may be missing leaves its tag in the type", () => {
    const handlers: { readonly Offline?: Strategy.Strategy<unknown, number> } = {}
    const program = Recovery.recover(download, handlers)
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<string | number, Offline | NotFound | Denied, never>>()
  })

  it("an error whose tag is a union leaves only as a whole", () => {
    const self: Effect.Effect<string, { readonly _tag: "A" | "B" }> = Effect.succeed("")
    const program = Recovery.recover(self, { A: Strategy.abort, B: Strategy.abort })
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<string, { readonly _tag: "A" | "B" }, never>>()
  })

  it("a misspelt tag does not compile", () => {
    // @ts-expect-error there is no tag Ofline
    download.pipe(Recovery.recover({ Ofline: Strategy.retry() }))
    // @ts-expect-error nor here
    Recovery.recover(download, { Offline: Strategy.retry(), NotFnd: Strategy.skip() })
  })

  it("of strategies that are ranked any may be the last", () => {
    const program = download.pipe(
      Recovery.recover({
        Offline: Strategy.auto({
          retry: Strategy.retry(RetryPolicy.fixed({ maxRetries: 2 })),
          mirror: Strategy.alternate((error: Offline) => Effect.as(fromMirror, error.host.length)),
          skip: Strategy.skip(null)
        })
      })
    )
    expectTypeOf(program).toEqualTypeOf<
      Effect.Effect<
        string | number | null,
        NotFound | Denied | MirrorDown | Recovery.RecoveryExhausted<Offline>,
        Mirror
      >
    >()
    download.pipe(
      // @ts-expect-error: one of them takes another error
      Recovery.recover({ Denied: Strategy.auto({ mirror: Strategy.alternate((_: Offline) => fromMirror) }) })
    )
    // @ts-expect-error: that is no strategy
    Strategy.auto({ retry: RetryPolicy.fixed() })
  })

  it("a strategy for another error does not compile", () => {
    // @ts-expect-error the strategy takes NotFound, the tag is Offline
    download.pipe(Recovery.recover({ Offline: Strategy.alternate((error: NotFound) => Effect.succeed(error.path)) }))
  })

  it("a policy for a narrower error does not compile", () => {
    expectTypeOf(download.pipe(RetryPolicy.retry(RetryPolicy.exponential()))).toEqualTypeOf<typeof download>()
  })

  it("an annotation of the result does not change what is inferred", () => {
    const annotated: Effect.Effect<string, NotFound | Denied> = download.pipe(
      Recovery.recover({ Offline: Strategy.skip("") })
    )
    // @ts-expect-error RecoveryExhausted<Offline> is missing
    const missing: Effect.Effect<string, NotFound | Denied> = download.pipe(
      Recovery.recover({ Offline: Strategy.retry() })
    )
    const category: Effect.Effect<string, Offline | NotFound | Denied> = download.pipe(
      Recovery.recoverCategory({ network: Strategy.skip("") })
    )
    expectTypeOf(
      Effect.isEffect(annotated) && Effect.isEffect(missing) && Effect.isEffect(category)
    ).toEqualTypeOf<boolean>()
  })
})

describe("Recovery in generic code, in types", () => {
  it("recover accepts an effect that is generic in its errors", () => {
    const guarded = <A, E, R>(self: Effect.Effect<A, E | Offline, R>) =>
      self.pipe(Recovery.recover({ Offline: Strategy.retry() }))
    assert.isTrue(Effect.isEffect(guarded(Effect.void)))
  })

  it("a sequence with a strategy of unknown errors may fail with anything", () => {
    const unknown: Strategy.For<unknown> = Strategy.abort
    const program = Effect.fail("boom").pipe(
      Recovery.recoverCategory({ otherwise: Strategy.sequence(unknown, Strategy.skip(1)) })
    )
    expectTypeOf<Effect.Effect.Error<typeof program>>().toEqualTypeOf<unknown>()
  })

  it("a wide breaker option may yield no breaker", () => {
    const build = (breaker: CircuitBreaker.CircuitBreaker | false) =>
      Effect.map(Recovery.recoverable({ name: "x", breaker }), (made) => made.breaker)
    expectTypeOf<Effect.Effect.Success<ReturnType<typeof build>>>().toEqualTypeOf<
      CircuitBreaker.CircuitBreaker | undefined
    >()
  })

  it("leaves the errors that docs/policies/README.md lists", () => {
    type Both = Offline | NotFound
    type ErrorOf<P> = P extends Effect.Effect<unknown, infer E, unknown> ? E : never
    const work: Effect.Effect<string, Both> = Effect.fail(new NotFound({ path: "/" }))

    const retried = work.pipe(RetryPolicy.retry(RetryPolicy.exponential()))
    const retriedByLayer = work.pipe(Recovery.retry)
    const byLayer = work.pipe(Recovery.auto("work"))
    const named = Recovery.named("work", () => work)()
    const byCategory = work.pipe(Recovery.recoverCategory({ network: Strategy.retry() }))
    const otherwise = work.pipe(Recovery.recoverCategory({ network: Strategy.skip(1), otherwise: Strategy.retry() }))
    expectTypeOf<ErrorOf<typeof retried>>().toEqualTypeOf<Both>()
    expectTypeOf<ErrorOf<typeof retriedByLayer>>().toEqualTypeOf<Both>()
    expectTypeOf<ErrorOf<typeof byLayer>>().toEqualTypeOf<Both | Recovery.RecoveryExhausted<Both>>()
    expectTypeOf<ErrorOf<typeof named>>().toEqualTypeOf<Both | Recovery.RecoveryExhausted<Both>>()
    expectTypeOf<ErrorOf<typeof byCategory>>().toEqualTypeOf<Both | Recovery.RecoveryExhausted<Both>>()
    expectTypeOf<ErrorOf<typeof otherwise>>().toEqualTypeOf<Recovery.RecoveryExhausted<Both>>()

    const plain = Effect.flatMap(Recovery.recoverable({ name: "work" }), (guard) => guard(work))
    const withoutBreaker = Effect.flatMap(Recovery.recoverable({ name: "work", breaker: false }), (guard) =>
      guard(work)
    )
    const skipped = Effect.flatMap(
      Recovery.recoverable({ name: "work", bulkhead: { maxConcurrent: 1 }, strategy: Strategy.skip("") }),
      (guard) => guard(work)
    )
    type Open = Both | CircuitBreaker.CircuitOpen
    expectTypeOf<ErrorOf<typeof plain>>().toEqualTypeOf<Open | Recovery.RecoveryExhausted<Open>>()
    expectTypeOf<ErrorOf<typeof withoutBreaker>>().toEqualTypeOf<Both | Recovery.RecoveryExhausted<Both>>()
    expectTypeOf<ErrorOf<typeof skipped>>().toEqualTypeOf<Bulkhead.BulkheadFull>()
  })
})
