import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Graph, Operation, Recovery, Step, type Storage, Strategy, type Workflow } from "effect-recovery"
import { Chain } from "effect-recovery/chain"
import { describe, expectTypeOf, it } from "vitest"

class E1 extends Schema.TaggedError<E1>()("E1", { a: Schema.String }) {}
class E2 extends Schema.TaggedError<E2>()("E2", { b: Schema.Number }) {}
class Model extends Context.Tag("Model")<Model, { readonly ask: Effect.Effect<string, E1> }>() {}
class Checker extends Context.Tag("Checker")<Checker, { readonly check: Effect.Effect<void, E2> }>() {}

describe("types of chains", () => {
  const parts = {
    input: Schema.String,
    text: Schema.String,
    generate: () => Effect.flatMap(Model, ({ ask }) => ask)
  }
  const check = () => Effect.flatMap(Checker, ({ check }) => Effect.as(check, Chain.passed))

  it("errors and requirements of the parts are united", () => {
    const chain = Chain.make("c", {
      ...parts,
      error: Schema.Union(E1, E2),
      validate: { check, other: () => Effect.succeed(Chain.passed) }
    })
    type Ran = ReturnType<typeof chain.runWithRecovery>
    expectTypeOf<Effect.Effect.Context<Ran>>().toEqualTypeOf<Model | Checker | Storage.Storage>()
    expectTypeOf<Extract<Effect.Effect.Error<Ran>, E1 | E2>>().toEqualTypeOf<E1 | E2>()
    expectTypeOf<Effect.Effect.Context<ReturnType<typeof chain.run>>>().toEqualTypeOf<Model | Checker>()
  })

  it("an error outside of the schema does not compile", () => {
    const chain = Chain.make("c", { ...parts, error: E1, validate: { check } })
    expectTypeOf(chain).toHaveProperty("refused")
  })

  it("a run provides its own services", () => {
    const generate = Step.make("generate", {
      success: Schema.String,
      error: E1,
      run: (_: Chain.Context<string, string>) => Effect.fail(new E1({ a: "" })),
      compensate: () => Effect.void,
      recover: { E1: Strategy.manual() }
    })
    const chain = Chain.make("c", { ...parts, error: E1, generate })
    expectTypeOf<Effect.Effect.Context<ReturnType<typeof chain.runWithRecovery>>>().toEqualTypeOf<Storage.Storage>()
    // A part around a step would nest the step in another step.
    const around = Chain.make("c", { ...parts, error: E1, generate: (c) => Effect.map(generate(c), (text) => text) })
    expectTypeOf<Step.StepInsideStep>().toExtend<Effect.Effect.Context<ReturnType<typeof around.runWithRecovery>>>()
  })
})

describe("types of graphs", () => {
  const commit = Graph.input<string>()("commit")
  const none = Graph.node(Step.make("none", { run: Effect.void }))
  const build = Graph.node({ commit }, Step.make("build", { run: ({ commit }) => Effect.log(commit.toUpperCase()) }))

  it("run asks for inputs exactly where a graph has them", () => {
    // @ts-expect-error: the commit is missing
    Graph.run(Graph.make("g", { none, build }), { inputs: {} })
    // @ts-expect-error: and here
    Graph.run(Graph.make("g", { none, build }))
    const ran = () => Graph.run(Graph.make("g", { none }), { concurrency: 1 })
    Graph.run(Graph.make("g", { none }))
    expectTypeOf<Effect.Effect.Context<ReturnType<typeof ran>>>().toEqualTypeOf<Workflow.Run>()
    // @ts-expect-error: build makes nothing a number could be
    Graph.node({ build }, Step.make("n", { run: ({ build }: { readonly build: number }) => Effect.log(build) }))
  })
})

describe("types of asking", () => {
  it("a step cannot ask while it runs or is compensated", () => {
    const asks = Effect.fail(new E1({ a: "" })).pipe(Recovery.recover({ E1: Strategy.manual() }))
    const inside = Step.make("inside", { error: E1, run: asks })
    expectTypeOf<Step.AskedInsideStep>().toExtend<Effect.Effect.Context<typeof inside>>()
    const undoing = Step.make("undoing", { run: Effect.void, compensate: () => asks })
    expectTypeOf<Step.AskedInsideStep>().toExtend<Effect.Effect.Context<typeof undoing>>()
    const outside = Step.make("outside", { error: E1, run: new E1({ a: "" }), recover: { E1: Strategy.manual() } })
    expectTypeOf<Step.AskedInsideStep>().not.toExtend<Effect.Effect.Context<typeof outside>>()
  })

  it("a recorded operation may ask, and records only what its schema can write", () => {
    const made = Recovery.recoverable({
      name: "op",
      strategy: Strategy.manual({ answer: Schema.String }),
      persist: Operation.persist({ success: Schema.String, error: E1 })
    })
    const one = Effect.flatMap(made, (op) => op(Effect.succeed("a"), { id: "1" }))
    expectTypeOf<Effect.Effect.Context<typeof one>>().toEqualTypeOf<Storage.Storage>()
    Effect.map(made, (op) => {
      // @ts-expect-error: which operation?
      op(Effect.succeed("a"))
      // @ts-expect-error: a number is no text
      op(Effect.succeed(1), { id: "1" })
      // @ts-expect-error: nor here
      op.try(() => 1, { id: "1" })
      // @ts-expect-error: another error
      op(Effect.fail(new E2({ b: 1 })), { id: "1" })
    })
  })
})
