import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import {
  Answer,
  type Checkpoint,
  Graph,
  type Operation,
  type Parameters,
  Signal,
  State,
  Step,
  type Storage,
  Workflow
} from "effect-recovery"
import { describe, expectTypeOf, it } from "vitest"

class Keys extends Context.Tag("Keys")<Keys, { readonly key: string }>() {}
class Gateway extends Context.Tag("Gateway")<Gateway, { readonly url: string }>() {}

const Secret: Schema.Schema<string, string, Keys> = Schema.suspend(() => Secret)

type Needs<T> = T extends Effect.Effect<unknown, unknown, infer R> ? R : never

const read = Step.make("read", { success: Secret, run: Effect.as(Gateway, "secret") })
const readAt = Step.make("readAt", { success: Secret, run: (_: number) => Effect.as(Gateway, "secret") })
const Flow = Workflow.make("flow", { input: Secret, success: Secret }, () => read)

describe("The services of a schema are in the types of what encodes and decodes with it:", () => {
  it("workflows: to start one needs those of its input, to execute one those of its body too", () => {
    const request = { id: "1", input: "secret" }
    expectTypeOf<Needs<ReturnType<typeof start>>>().toEqualTypeOf<Keys | Storage.Storage>()
    expectTypeOf<Needs<ReturnType<typeof execute>>>().toEqualTypeOf<Keys | Gateway | Storage.Storage>()
    expectTypeOf<Needs<ReturnType<typeof join>>>().toEqualTypeOf<Keys | Gateway | Storage.Storage>()
    expectTypeOf<Needs<ReturnType<typeof resume>>>().toEqualTypeOf<Keys | Gateway | Storage.Storage>()
    function start() {
      return Workflow.start(Flow, request)
    }
    function execute() {
      return Workflow.execute(Flow, request)
    }
    function join() {
      return Workflow.join(Flow, "1")
    }
    function resume() {
      return Workflow.resume(Flow, "1")
    }
  })

  it("steps and answers: to answer with a value needs what its schema needs, and not what the step needs", () => {
    expectTypeOf(read).toEqualTypeOf<Step.Step<string, never, Keys | Gateway, Keys>>()
    expectTypeOf(Answer.value(read, "secret")).toEqualTypeOf<Answer.Answer<Keys>>()
    expectTypeOf(Answer.value(readAt, "secret")).toEqualTypeOf<Answer.Answer<Keys>>()
    const plain = Step.make("plain", { success: Schema.String, run: Effect.as(Gateway, "open") })
    expectTypeOf(Answer.value(plain, "open")).toEqualTypeOf<Answer.Answer>()
  })

  it("graphs: to run one, and to read the outputs of a failed one", () => {
    const graph = Graph.make("graph", { read: Graph.node(read) })
    expectTypeOf<Needs<ReturnType<typeof run>>>().toEqualTypeOf<Keys | Gateway | Workflow.Run>()
    expectTypeOf<Needs<ReturnType<typeof partial>>>().toExtend<Keys | Gateway | Workflow.Run>()
    expectTypeOf<Keys>().toExtend<Needs<ReturnType<typeof partial>>>()
    function run() {
      return Graph.run(graph)
    }
    function partial(failed: Graph.GraphFailed<unknown>) {
      return Graph.partial(graph, failed)
    }
  })

  it("signals, cells, parameters, checkpoints and operations", () => {
    const signal = Signal.make("signal", Secret)
    expectTypeOf<Keys>().toExtend<Needs<ReturnType<typeof signal.wait>>>()
    expectTypeOf<Keys>().toExtend<Needs<ReturnType<typeof signal.send>>>()
    const cell = State.make("cell", Secret, "")
    expectTypeOf<Keys>().toExtend<Needs<typeof cell.get>>()
    expectTypeOf<Keys>().toExtend<Needs<ReturnType<typeof cell.set>>>()
    expectTypeOf<ReturnType<typeof parameters>>().toEqualTypeOf<Parameters.Parameters<string, Keys>>()
    expectTypeOf<Keys>().toExtend<Needs<ReturnType<ReturnType<typeof checkpoint>["save"]>>>()
    expectTypeOf<Keys>().toExtend<Needs<ReturnType<ReturnType<typeof checkpoint>["latest"]>>>()
    expectTypeOf<ReturnType<typeof persist>>().toExtend<{ readonly record: unknown }>()
  })
})

declare function parameters(): ReturnType<typeof Parameters.make<string, string, Keys>>
declare function checkpoint(): ReturnType<typeof Checkpoint.make<string, string, Keys>>
declare function persist(): ReturnType<typeof Operation.persist<typeof Secret>>
