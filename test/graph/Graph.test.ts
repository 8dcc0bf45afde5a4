import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { Answer, Graph, RetryPolicy, Step, Strategy, Transaction, Workflow } from "effect-recovery"
import { Ledger, Testing } from "effect-recovery/testing"
import { causeOf } from "../support/assertions.js"
import { a, Bad, flow, memoryProcess, noted, processOn } from "../support/durable.js"
import { backends } from "../support/storages.js"

class Broken extends Schema.TaggedError<Broken>()("Broken", { what: Schema.String }) {}

for (const backend of backends) {
  const setup = processOn(backend, "30 seconds")

  const commit = Graph.input<string>()("commit")
  const checkout = Graph.node(
    { commit },
    Step.make("checkout", {
      success: Schema.String,
      run: ({ commit }) => Effect.as(Ledger.done("checkout"), `sources of ${commit}`)
    })
  )
  const lint = Graph.node(
    { checkout },
    Step.make("lint", { success: Schema.Number, run: () => Effect.as(Ledger.done("lint"), 0) })
  )
  const deployed = (test: Graph.Node<number, Broken, Ledger.Ledger, { readonly commit: string }>) =>
    Graph.node(
      { lint, test },
      Step.make("deploy", {
        success: Schema.String,
        run: ({ lint, test }) => Effect.as(Ledger.done("deploy"), `${lint} warnings, ${test} tests`)
      })
    )

  const make = (tests: Effect.Effect<number, Broken, Ledger.Ledger>, recover: object = {}) => {
    const test = Graph.node(
      { sources: checkout },
      Step.make("test", {
        success: Schema.Number,
        error: Broken,
        run: ({ sources }) => Effect.zipRight(Ledger.done(`test ${sources}`), tests),
        recover
      })
    )
    const docs = Graph.node({ checkout }, Step.make("docs", { run: () => Ledger.done("docs") }))
    return Graph.make("ci", { deploy: deployed(test), docs })
  }

  const workflow = (graph: ReturnType<typeof make>) =>
    Workflow.make("ci", { input: Schema.String, success: Schema.String, error: Broken }, (commit) =>
      Effect.map(Graph.run(graph, { inputs: { commit }, concurrency: 2 }), ({ deploy }) => deploy)
    )

  describe(`${backend.name}: a graph`, () => {
    it.scoped("passes to each node the outputs of its inputs", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const run = Workflow.execute(workflow(make(Effect.succeed(7))), { id: "1", input: "c0ffee" })
        assert.strictEqual(yield* Effect.provide(run, layer), "0 warnings, 7 tests")
        const all = yield* lines
        assert.strictEqual(all[0], "checkout")
        assert.deepStrictEqual([...all].sort(), ["checkout", "deploy", "docs", "lint", "test sources of c0ffee"])
        assert.isAbove(all.indexOf("deploy"), all.indexOf("lint"))
      })
    )

    it.scoped("a failed node stops only the nodes that depend on it; partial outputs are available", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const graph = make(Effect.fail(new Broken({ what: "test 3" })))
        const run = Workflow.execute(workflow(graph), { id: "1", input: "c0ffee" })
        yield* Effect.gen(function* () {
          const first = yield* Effect.flip(run)
          // The recorded outcome is the same.
          const second = yield* Effect.flip(run)
          for (const error of [first, second]) {
            if (error._tag !== "GraphFailed") return assert.fail(error._tag)
            assert.deepStrictEqual(error.failures, [{ node: "test", error: new Broken({ what: "test 3" }) }])
            assert.deepStrictEqual(error.skipped, [{ node: "deploy", because: "test" }])
            assert.deepStrictEqual(error.outputs, { checkout: "sources of c0ffee", lint: 0 })
            assert.deepStrictEqual([...error.completed].sort(), ["checkout", "docs", "lint"])
            assert.deepStrictEqual(yield* Graph.partial(graph, error), { docs: undefined })
            assert.include(error.message, `failed at "test"`)
          }
          const mermaid = Graph.toMermaid(graph, yield* Workflow.status("1"))
          assert.include(mermaid, `["test: failed"]`)
          assert.include(mermaid, `["deploy"]`)
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual([...(yield* lines)].sort(), ["checkout", "docs", "lint", "test sources of c0ffee"])
      })
    )

    it.scoped("a node recovers by its own strategy, or asks while the other nodes run", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        let fails = 1
        const flaky = Effect.suspend(() => (fails-- > 0 ? Effect.fail(new Broken({ what: "x" })) : Effect.succeed(7)))
        yield* Effect.gen(function* () {
          const retried = workflow(
            make(flaky, { Broken: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 })) })
          )
          assert.strictEqual(yield* Workflow.execute(retried, { id: "1", input: "c" }), "0 warnings, 7 tests")
          const asked = workflow(make(Effect.fail(new Broken({ what: "x" })), { Broken: Strategy.manual() }))
          const run = Workflow.execute(asked, { id: "2", input: "c" })
          const suspended = yield* Effect.flip(run)
          assert.strictEqual(suspended._tag, "RunSuspended")
          const before = (yield* lines).filter((line) => line === "docs" || line === "lint").length
          assert.strictEqual(before, 4)
          yield* Workflow.resolve("2", Answer.json(9))
          assert.strictEqual(yield* run, "0 warnings, 9 tests")
          assert.strictEqual((yield* lines).filter((line) => line === "docs" || line === "lint").length, 4)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("a resumed graph runs only the missing nodes", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const started = yield* Deferred.make<void>()
        let hangs = true
        const tests = Effect.suspend(() =>
          hangs ? Effect.zipRight(Deferred.succeed(started, undefined), Effect.never) : Effect.succeed(7)
        )
        yield* Effect.gen(function* () {
          const run = Workflow.execute(workflow(make(tests)), { id: "1", input: "c" })
          const fiber = yield* Effect.fork(run)
          yield* Deferred.await(started)
          yield* Effect.repeat(lines, { until: (all) => all.length === 4 })
          yield* Fiber.interrupt(fiber)
          hangs = false
          assert.strictEqual(yield* run, "0 warnings, 7 tests")
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual([...(yield* lines)].sort(), [
          "checkout",
          "deploy",
          "docs",
          "lint",
          "test sources of c",
          "test sources of c"
        ])
      })
    )

    it.scoped("a failed node is skipped with a value or replaced by an alternate", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const failing = Effect.fail(new Broken({ what: "tests" }))
        const outcome = (id: string, recover: object) =>
          Effect.provide(Workflow.execute(workflow(make(failing, recover)), { id, input: "c" }), layer)
        assert.strictEqual(yield* outcome("skip", { Broken: Strategy.skip(-1) }), "0 warnings, -1 tests")
        const elsewhere = Strategy.alternate((_: Broken) => Effect.as(Ledger.done("elsewhere"), 6))
        assert.strictEqual(yield* outcome("alternate", { Broken: elsewhere }), "0 warnings, 6 tests")
        assert.include(yield* lines, "elsewhere")
      })
    )

    it.scoped("in a transaction completed nodes are compensated in reverse order", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const undo = (name: string) => () => Ledger.done(`undo ${name}`)
        const first = Graph.node(Step.make("first", { run: Ledger.done("first"), compensate: undo("first") }))
        const second = Graph.node(
          { first },
          Step.make("second", { run: () => Ledger.done("second"), compensate: undo("second") })
        )
        const third = Graph.node(
          { second },
          Step.make("third", { error: Broken, run: () => Effect.fail(new Broken({ what: "third" })) })
        )
        const graph = Graph.make("undone", { third })
        const Undone = Workflow.make("undone", { error: Schema.Unknown }, () =>
          Transaction.run(Effect.asVoid(Graph.run(graph)))
        )
        yield* Effect.flip(Effect.provide(Workflow.execute(Undone, { id: "1" }), layer))
        assert.deepStrictEqual(yield* lines, ["first", "second", "undo second", "undo first"])
      })
    )

    it.scoped("a node of the journal that the graph lacks is a ReplayMismatch", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const smaller = Graph.make("ci", { lint })
        const broken = workflow(make(Effect.die("bug")))
        yield* Effect.gen(function* () {
          yield* Effect.exit(Workflow.execute(broken, { id: "1", input: "c" }))
          const other = Workflow.make("ci", { input: Schema.String, success: Schema.String, error: Broken }, (commit) =>
            Effect.as(Graph.run(smaller, { inputs: { commit } }), "")
          )
          const error = yield* Effect.flip(Workflow.execute(other, { id: "1", input: "c" }))
          assert.strictEqual(error._tag, "ReplayMismatch")
        }).pipe(Effect.provide(layer))
      })
    )

    it.live(
      "survives a crash at every write",
      () =>
        Effect.gen(function* () {
          const store = Effect.map(backend.make, (place) => place.store)
          const card = yield* Testing.crashEverywhere(workflow(make(Effect.succeed(7))), { input: "c", store })
          assert.isAbove(card.crashes, 10)
          assert.deepStrictEqual(card.lost, [])
          assert.deepStrictEqual(card.outcomes, [])
        }),
      60_000
    )
  })
}

describe("making a graph", () => {
  const a = Graph.node(Step.make("a", { run: Effect.void }))

  it("refuses cycles, duplicates and an empty graph", () => {
    const made = (make: () => unknown) => {
      try {
        make()
        return "made"
      } catch (error) {
        return error instanceof Graph.GraphInvalid ? [error.reason, ...error.nodes] : "other"
      }
    }
    const after: Record<string, Graph.AnyNode> = {}
    const one = Graph.node(after, Step.make("one", { run: () => Effect.void }))
    const two = Graph.node({ one }, Step.make("two", { run: () => Effect.void }))
    after.two = two
    assert.deepStrictEqual(
      made(() => Graph.make("g", { two })),
      ["Cycle", "two", "one", "two"]
    )
    const b = Graph.node({ a }, Step.make("b", { run: () => Effect.void }))
    const again = Graph.node({ b }, Step.make("a", { run: () => Effect.void }))
    assert.deepStrictEqual(
      made(() => Graph.make("g", { again })),
      ["Duplicate", "a"]
    )
    assert.deepStrictEqual(
      made(() => Graph.make("g", {})),
      ["Empty"]
    )
  })

  it("draws nodes of any name", () => {
    const odd = Graph.node({ a }, Step.make(`x"]-->y; <b>#1</b>`, { run: () => Effect.void }))
    const text = Graph.toMermaid(Graph.make("g", { odd }))
    assert.deepStrictEqual(text.split("\n"), [
      "flowchart TD",
      `  n0["a"]`,
      `  n1["x#34;]--#62;y#59; #60;b#62;#35;1#60;/b#62;"]`,
      "  n0 --> n1"
    ])
  })
})

describe("a graph in memory", () => {
  const asking = Graph.node(
    Step.make("asking", { success: Schema.Number, error: Bad, run: new Bad(), recover: { Bad: Strategy.manual() } })
  )

  const other = Graph.node(noted("other"))

  it.scoped("runs its other nodes while one node asks", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* memoryProcess()
      const graph = Graph.make("g", { asking, other })
      const run = Workflow.make("w", { error: Bad }, () => Effect.asVoid(Graph.run(graph, { concurrency: 1 })))
      const suspended = yield* Effect.provide(Effect.flip(Workflow.execute(run, { id: "1" })), layer)
      assert.strictEqual(suspended._tag, "RunSuspended")
      assert.deepStrictEqual(yield* lines, ["other"])
    })
  )

  it.scoped("is distinguished from another graph and a section of the same name", () =>
    Effect.gen(function* () {
      const { layer, lines } = yield* memoryProcess()
      const graph = Graph.make("g", { other })
      const third = Graph.make("g", { third: Graph.node(noted("third")) })
      let isFirst = true
      const body = Effect.gen(function* () {
        yield* Graph.run(graph)
        yield* Graph.run(third)
        yield* Graph.run(graph)
        yield* a.pipe(Workflow.section("g"))
        if (isFirst) yield* Effect.die("stopped")
      })
      yield* Effect.gen(function* () {
        yield* Effect.exit(Workflow.execute(flow(body), { id: "1" }))
        isFirst = false
        yield* Workflow.execute(flow(body), { id: "1" })
        const drawn = Graph.toMermaid(graph, yield* Workflow.status("1"))
        assert.include(drawn, "other: completed")
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* lines, ["other", "third", "other", "a"])
    })
  )

  it.scoped("refuses a concurrency below 1 or not whole", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      for (const concurrency of [0, -1, 0.5, Number.NaN]) {
        const run = flow(Graph.run(Graph.make("g", { other }), { concurrency }))
        const exit = yield* Effect.exit(Effect.provide(Workflow.execute(run, { id: String(concurrency) }), layer))
        assert.include(causeOf(exit), "InvalidOption")
      }
    })
  )

  it.scoped("keeps null and undefined as partial outputs", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      const nothing = Graph.node(
        Step.make("nothing", { success: Schema.NullOr(Schema.String), run: Effect.succeed(null) })
      )
      const none = Graph.node(Step.make("none", { run: Effect.void }))
      const failing = Graph.node(Step.make("failing", { error: Bad, run: new Bad() }))
      const graph = Graph.make("g", { nothing, none, failing })
      const run = Workflow.make("w", { error: Bad }, () => Effect.asVoid(Graph.run(graph)))
      const error = yield* Effect.provide(Effect.flip(Workflow.execute(run, { id: "1" })), layer)
      if (error._tag !== "GraphFailed") return assert.fail(error._tag)
      assert.deepStrictEqual(yield* Graph.partial(graph, error), { nothing: null, none: undefined })
    })
  )

  it("refuses a function around a step, which would hide the step's name", () => {
    assert.throws(() => Graph.node({ other }, ({ other }) => noted(other)), "Step.make")
  })
})
