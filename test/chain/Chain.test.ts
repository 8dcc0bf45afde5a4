import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"
import { Chain } from "effect-recovery/chain"
import { Ledger, Testing } from "effect-recovery/testing"
import { backends } from "../support/storages.js"
import { passTime } from "../support/time.js"

class Overloaded extends Schema.TaggedError<Overloaded>()("Overloaded", {}) {}

/** Passes at its second text, or at once. */
const make = (
  goodFrom: number,
  options: { readonly alwaysCriticize?: boolean; readonly maxIterations?: number } = {}
) =>
  Chain.make("story", {
    input: Schema.String,
    text: Schema.String,
    retrieve: { facts: (topic) => Effect.as(Ledger.done("retrieve"), `facts about ${topic}`) },
    generate: ({ feedback, input, iteration, problems, retrieved }) =>
      Effect.as(
        Ledger.done(`generate ${iteration}`),
        [input, retrieved.facts, iteration, ...Object.values(problems), ...Object.values(feedback)].join(" | ")
      ),
    validate: {
      length: (_, { iteration }) =>
        Effect.as(
          Ledger.done(`validate ${iteration}`),
          iteration >= goodFrom ? Chain.passed : Chain.failed("too short")
        ),
      spelling: () => Effect.succeed(Chain.passed)
    },
    criticize: {
      tone: (_, { iteration }) => Effect.as(Ledger.done(`criticize ${iteration}`), "be warmer")
    },
    ...options
  })

for (const backend of backends) {
  const setup = Effect.gen(function* () {
    const place = yield* backend.make
    const ledger = yield* Ledger.make
    const base = Layer.merge(Layer.succeed(Ledger.Ledger, ledger), RetryPolicy.layer(RetryPolicy.none))
    const lines = Effect.map(ledger.lines, (all) => all.map(({ effect }) => effect))
    return { place, ledger, base, lines, layer: Layer.merge(place.join("10 days"), base) }
  })

  describe(`${backend.name}: a chain`, () => {
    it.scoped("improves a text until it passes", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const result = yield* Effect.provide(make(2).runWithRecovery("tea", { id: "1" }), layer)
        assert.deepStrictEqual(result, {
          text: "tea | facts about tea | 2 | too short | be warmer",
          passed: true,
          iterations: 2,
          verdicts: { length: { passed: true }, spelling: { passed: true } },
          feedback: { tone: "be warmer" }
        })
        assert.deepStrictEqual(yield* lines, [
          "retrieve",
          "generate 1",
          "validate 1",
          "criticize 1",
          "generate 2",
          "validate 2"
        ])
        // A finished run returns its result without running a part.
        assert.deepStrictEqual(yield* Effect.provide(make(2).runWithRecovery("tea", { id: "1" }), layer), result)
        assert.strictEqual((yield* lines).length, 6)
      })
    )

    it.scoped("criticises a passing text only if asked to, and the last text never", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const steps = (chain: ReturnType<typeof make>, id: string) =>
          Effect.gen(function* () {
            yield* chain.runWithRecovery("tea", { id })
            return (yield* chain.history(id)).map(({ iteration, step }) => `${step} ${iteration}`)
          }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* steps(make(1), "good"), [
          "initialization 0",
          "pre_retrieval 0",
          "generation 1",
          "pre_validation 1",
          "validation 1",
          "complete 1"
        ])
        assert.deepStrictEqual(
          (yield* steps(make(1, { alwaysCriticize: true, maxIterations: 2 }), "always")).slice(5),
          ["pre_criticism 1", "criticism 1", "generation 2", "pre_validation 2", "validation 2", "complete 2"]
        )
        const never = yield* Effect.provide(
          make(9, { maxIterations: 1 }).runWithRecovery("tea", { id: "never" }),
          layer
        )
        assert.strictEqual(never.passed, false)
        assert.strictEqual((yield* lines).filter((line) => line.startsWith("criticize")).length, 1)
      })
    )

    it.scoped("run needs no storage and records nothing", () =>
      Effect.gen(function* () {
        const { base } = yield* setup
        const result = yield* Effect.provide(make(1).run("tea"), base)
        assert.strictEqual(result.iterations, 1)
      })
    )

    // The resume matrix of seed 002: the parts that run again after a crash at each step, with a good first or second text.
    const matrix: ReadonlyArray<readonly [step: Chain.ChainStep, goodAtOnce: string | undefined, goodLater: string]> = [
      [
        "initialization",
        "retrieve 1, generate 1, validate 1, criticize 0",
        "retrieve 1, generate 2, validate 2, criticize 1"
      ],
      [
        "pre_retrieval",
        "retrieve 1, generate 1, validate 1, criticize 0",
        "retrieve 1, generate 2, validate 2, criticize 1"
      ],
      [
        "generation",
        "retrieve 0, generate 0, validate 1, criticize 0",
        "retrieve 0, generate 1, validate 2, criticize 1"
      ],
      [
        "pre_validation",
        "retrieve 0, generate 0, validate 1, criticize 0",
        "retrieve 0, generate 1, validate 2, criticize 1"
      ],
      [
        "validation",
        "retrieve 0, generate 0, validate 0, criticize 0",
        "retrieve 0, generate 1, validate 1, criticize 1"
      ],
      ["pre_criticism", undefined, "retrieve 0, generate 1, validate 1, criticize 1"],
      ["criticism", undefined, "retrieve 0, generate 1, validate 1, criticize 0"],
      ["complete", "retrieve 0, generate 0, validate 0, criticize 0", "retrieve 0, generate 0, validate 0, criticize 0"]
    ]
    for (const [step, goodAtOnce, goodLater] of matrix) {
      for (const [goodFrom, expected] of [
        [1, goodAtOnce],
        [2, goodLater]
      ] as const) {
        if (expected === undefined) continue
        it.scoped(`ended at ${step}, good at text ${goodFrom}, it resumes with: ${expected}`, () =>
          Effect.gen(function* () {
            const { base, layer, ledger, place } = yield* setup
            const ended = yield* Deferred.make<void>()
            /** A process that crashes after the checkpoint was saved. */
            const dying: Storage.Store = {
              ...place.store,
              save: (snapshot, options) =>
                Effect.tap(place.store.save(snapshot, options), () =>
                  String(snapshot.state).includes(`"step":"${step}"`)
                    ? Effect.zipRight(Deferred.succeed(ended, undefined), Effect.interruptible(Effect.never))
                    : Effect.void
                )
            }
            const chain = make(goodFrom)
            const first = Layer.scoped(Storage.Storage, Storage.make(dying, { owner: "dying", lease: "10 seconds" }))
            const fiber = yield* chain
              .runWithRecovery("tea", { id: "1" })
              .pipe(Effect.provide(Layer.merge(first, base)), Effect.fork)
            yield* Deferred.await(ended)
            yield* Fiber.interrupt(fiber)
            yield* TestClock.adjust("11 seconds")
            const before = (yield* ledger.lines).length
            const result = yield* Effect.provide(chain.runWithRecovery("tea", { id: "1" }), layer)
            assert.strictEqual(result.iterations, goodFrom)
            const after = (yield* ledger.lines).slice(before).map(({ effect }) => effect.split(" ")[0])
            const counts = ["retrieve", "generate", "validate", "criticize"].map(
              (part) => `${part} ${after.filter((one) => one === part).length}`
            )
            assert.strictEqual(counts.join(", "), expected)
          })
        )
      }
    }

    it.live(
      "survives a crash at every write",
      () =>
        Effect.gen(function* () {
          const store = Effect.map(backend.make, (place) => place.store)
          const card = yield* Testing.crashEverywhere(make(2).workflow, { input: "tea", store })
          assert.isAbove(card.crashes, 40)
          assert.deepStrictEqual(card.lost, [])
          assert.deepStrictEqual(card.outcomes, [])
        }),
      60_000
    )

    it.scoped("a part may be a step with its own strategies and typed errors", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        let calls = 0
        const chain = Chain.make("careful", {
          input: Schema.String,
          text: Schema.String,
          error: Overloaded,
          generate: Step.make("model", {
            success: Schema.String,
            error: Overloaded,
            run: ({ input }: Chain.Context<string, string>) =>
              Effect.suspend(() => (++calls < 3 ? Effect.fail(new Overloaded()) : Effect.succeed(`about ${input}`))),
            recover: { Overloaded: Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: 0 })) }
          })
        })
        const result = yield* Effect.provide(chain.runWithRecovery("tea", { id: "1" }), layer)
        assert.deepStrictEqual([result.text, calls], ["about tea", 3])
        const plain = Chain.make("plain", {
          input: Schema.String,
          text: Schema.String,
          error: Overloaded,
          generate: () => Effect.fail(new Overloaded())
        })
        const exit = yield* Effect.exit(Effect.provide(plain.runWithRecovery("tea", { id: "2" }), layer))
        assert.deepStrictEqual(exit, Exit.fail(new Overloaded()))
      })
    )

    it.scoped("reports its slowest parts", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const chain = Chain.make("slow", {
          input: Schema.Void,
          text: Schema.String,
          generate: () => Effect.delay(Effect.succeed("text"), "3 seconds"),
          validate: {
            quick: () => Effect.succeed(Chain.passed),
            slow: (_, { iteration }) =>
              Effect.delay(Effect.succeed(iteration > 1 ? Chain.passed : Chain.failed("no")), "1 second")
          }
        })
        yield* Effect.gen(function* () {
          const fiber = yield* Effect.fork(chain.runWithRecovery(undefined, { id: "1" }))
          yield* passTime(fiber, "1 second")
          const slowest = yield* chain.bottlenecks("1")
          assert.deepStrictEqual(
            slowest.map(({ part, times }) => [part, times]),
            [
              ["generate", 2],
              ["validate slow", 2]
            ]
          )
          assert.strictEqual((yield* Effect.flip(chain.bottlenecks("missing")))._tag, "RunNotFound")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("suggests actions for the kind of failure, best first", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        class Busy extends Schema.TaggedError<Busy>()("Busy", { status: Schema.Number }) {}
        const failing = (at: string, from: number, error: Busy = new Busy({ status: 429 })) =>
          Chain.make(`failing at ${at}`, {
            input: Schema.Void,
            text: Schema.String,
            error: Busy,
            generate: ({ iteration }) =>
              at === "generate" && iteration >= from ? Effect.fail(error) : Effect.succeed("text"),
            validate: {
              v: (_, { iteration }) =>
                at === "validate" && iteration >= from ? Effect.fail(error) : Effect.succeed(Chain.failed("no"))
            },
            criticize: { c: () => Effect.succeed("better") }
          })
        yield* Effect.gen(function* () {
          const offered = (chain: ReturnType<typeof failing>, error: unknown) =>
            Effect.gen(function* () {
              yield* Effect.exit(chain.runWithRecovery(undefined, { id: chain.name }))
              const all = yield* chain.suggestions(chain.name, error)
              return all.map(({ confidence, estimatedSuccess, strategy }) => [strategy, confidence, estimatedSuccess])
            })
          const busy = new Busy({ status: 429 })
          assert.deepStrictEqual(yield* offered(failing("generate", 1), new Error("Failed to generate text: boom")), [
            ["retry", 0.6, 0.5],
            ["restart", 0.3, 0.9]
          ])
          assert.deepStrictEqual(yield* offered(failing("validate", 2), busy), [
            ["modify", 0.8, 0.7],
            ["restartIteration", 0.7, 0.6],
            ["retry", 0.6, 0.5],
            ["restartFrom generate", 0.5, 0.6],
            ["restartFrom validate", 0.45, 0.5],
            ["skip", 0.4, 0.3],
            ["restart", 0.3, 0.9]
          ])
          const [first] = yield* failing("validate", 2).suggestions("failing at validate", busy)
          assert.deepStrictEqual(first?.parameters, { retryDelay: "5 seconds", maxRetries: 3 })
          // An unknown run has no records.
          assert.deepStrictEqual(yield* failing("validate", 2).suggestions("missing", busy), [])
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("ranks suggestions by the outcomes of recent runs", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        let fails = 1
        const chain = Chain.make("flaky", {
          input: Schema.Void,
          text: Schema.String,
          error: Overloaded,
          generate: Step.make("model", {
            success: Schema.String,
            error: Overloaded,
            run: (_: unknown) =>
              Effect.suspend(() => (fails-- > 0 ? Effect.fail(new Overloaded()) : Effect.succeed("text"))),
            recover: { Overloaded: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 })) }
          })
        })
        yield* Effect.gen(function* () {
          yield* chain.runWithRecovery(undefined, { id: "good" })
          yield* chain.runWithRecovery(undefined, { id: "asking" })
          const rate = Effect.map(
            chain.suggestions("asking", new Overloaded()),
            (all) => all.find(({ strategy }) => strategy === "retry")?.estimatedSuccess
          )
          assert.strictEqual(yield* rate, 1)
          fails = 2
          yield* Effect.exit(chain.runWithRecovery(undefined, { id: "bad" }))
          assert.strictEqual(yield* rate, 0.5)
          // The outcome of a run does not change its suggestions.
          const [own] = (yield* chain.suggestions("good", new Overloaded())).filter(
            ({ strategy }) => strategy === "retry"
          )
          assert.strictEqual(own?.estimatedSuccess, 0)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("prefers the outcomes of runs with similar texts", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const failed = new Set<string>()
        const chain = Chain.make("alike", {
          input: Schema.String,
          text: Schema.String,
          error: Overloaded,
          metadata: (prompt) => ({ model: "small", promptLength: prompt.length }),
          generate: ({ input }) => Effect.succeed(input),
          validate: {
            // The first attempt fails; for poems the second one too.
            judge: Step.make("judge", {
              success: Chain.Verdict,
              error: Overloaded,
              run: (text: string) =>
                Effect.suspend(() =>
                  failed.has(text) && !text.startsWith("A poem")
                    ? Effect.succeed(Chain.passed)
                    : Effect.zipRight(
                        Effect.sync(() => failed.add(text)),
                        Effect.fail(new Overloaded())
                      )
                ),
              recover: { Overloaded: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 })) }
            })
          }
        })
        yield* Effect.gen(function* () {
          const start = (text: string) => Effect.exit(chain.runWithRecovery(text, { id: text }))
          for (let n = 0; n < 21; n++) {
            yield* start(`A poem about the sea, number ${n}`)
            yield* start(`Release notes of version ${n}`)
          }
          const rate = (id: string) =>
            Effect.map(
              chain.suggestions(id, new Overloaded()),
              (all) => all.find(({ strategy }) => strategy === "retry")?.estimatedSuccess
            )
          assert.strictEqual(yield* rate("A poem about the sea, number 20"), 0)
          assert.strictEqual(yield* rate("Release notes of version 20"), 1)
          // Newer runs that have not ended do not hide those that have.
          for (let n = 0; n < 60; n++) yield* Workflow.start(chain.workflow, { id: `open ${n}`, input: "open" })
          assert.strictEqual(yield* rate("Release notes of version 20"), 1)
          const [moment] = yield* chain.history("Release notes of version 20")
          assert.deepStrictEqual(moment?.metadata, { model: "small", promptLength: 27 })
        }).pipe(Effect.provide(layer))
      })
    )
  })
}
