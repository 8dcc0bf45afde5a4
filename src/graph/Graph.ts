/**
 * A graph of steps: each node takes the outputs of the nodes it depends on, and
 * independent nodes run concurrently. Nodes refer to one another as values, so a
 * reference to a missing node does not compile.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as ParseResult from "effect/ParseResult"
import type * as Types from "effect/Types"
import type { Run } from "../durable/internal/execution/execution.js"
import { definitionOf } from "../durable/internal/step/definition.js"
import type { Step } from "../durable/Step.js"
import type { RunStatus } from "../durable/Workflow.js"
import type { GraphFailed } from "../journal/RunError.js"
import { checkName } from "../resilience/InvalidName.js"
import { mermaidOf } from "./internal/mermaid.js"
import { decodeOutputs, runGraph } from "./internal/runGraph.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  GraphFailed
} from "../journal/RunError.js"

/**
 * A node: succeeds with `A` or fails with `E`, its own error or that of a node
 * before it. `In` are the inputs that it and the nodes before it need.
 *
 * @since 0.1.0
 * @category models
 */
export interface Node<out A, out E = never, out R = never, in In = unknown> {
  readonly name: string
  /** The nodes it depends on, by the names under which it gets their outputs. */
  readonly after: Readonly<Record<string, AnyNode>>
  /** `undefined` for an input. */
  readonly step: ((outputs: never) => Step<A, E, R, unknown>) | undefined
  /** @internal The result of Step.make. */
  readonly made?: object | undefined
  /** The inputs it needs. */
  readonly _In?: Types.Contravariant<In>
}

/**
 * @since 0.1.0
 * @category models
 */
export type AnyNode = Node<unknown, unknown, unknown, never>

/**
 * The outputs of nodes, by name.
 *
 * @since 0.1.0
 * @category models
 */
export type Outputs<Nodes> = {
  readonly [Name in keyof Nodes]: Nodes[Name] extends Node<infer A, unknown, unknown, never> ? A : never
}

/**
 * @since 0.1.0
 * @category models
 */
export type ErrorOf<N> = N extends Node<unknown, infer E, unknown, never> ? E : never
/**
 * @since 0.1.0
 * @category models
 */
export type RequirementsOf<N> = N extends Node<unknown, unknown, infer R, never> ? R : never
/**
 * @since 0.1.0
 * @category models
 */
export type InputsOf<Nodes> = Types.Simplify<
  // Inferred from parameters, so that a node without inputs adds nothing to the intersection.
  {
    [Name in keyof Nodes]: Nodes[Name] extends Node<unknown, unknown, unknown, infer In> ? (inputs: In) => void : never
  }[keyof Nodes] extends (inputs: infer All) => void
    ? All
    : never
>

/**
 * An input that is passed to `run`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const input =
  <A>() =>
  <const Name extends string>(name: Name): Node<A, never, never, { readonly [K in Name]: A }> => ({
    name,
    after: {},
    step: undefined
  })

/**
 * A node that runs a step. If it depends on nodes, the step takes their outputs.
 *
 * @since 0.1.0
 * @category constructors
 */
export const node: {
  /** A node that runs a step and depends on no other node. */
  <A, E, R>(step: Step<A, E, R, unknown>): Node<A, E, R>
  /**
   * A node that runs a step when the nodes of `after` have ended. The step may be a function of their
   * outputs.
   */
  <const After extends Readonly<Record<string, AnyNode>>, A, E, R>(
    after: After,
    step:
      | ((outputs: Outputs<After>) => Step<A, E, R, unknown>)
      | (() => Step<A, E, R, unknown>)
      | Step<A, E, R, unknown>
  ): Node<A, E | ErrorOf<After[keyof After]>, R | RequirementsOf<After[keyof After]>, InputsOf<After>>
} = (first: object, second?: unknown): never => {
  const after = second === undefined ? {} : first
  const step = (second ?? first) as { readonly name: string }
  if (definitionOf(step) === undefined) {
    throw new TypeError(
      "Graph.node takes the result of Step.make. A function around it would hide the name of the step."
    )
  }
  // The overloads ensure that the step takes the outputs of the nodes before it.
  return { name: step.name, after, step: typeof step === "function" ? step : () => step, made: step } as never
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Graph<Nodes extends Readonly<Record<string, AnyNode>>> {
  readonly name: string
  /** The nodes whose outputs `run` returns. */
  readonly nodes: Nodes
  /** These nodes and all they depend on, in an order in which they can run. */
  readonly all: ReadonlyArray<AnyNode>
}

/**
 * The graph is not valid: a node depends on itself, two nodes have one name, or
 * there are no nodes. Thrown by `make`.
 *
 * @since 0.1.0
 * @category errors
 */
export class GraphInvalid extends Data.TaggedError("GraphInvalid")<{
  readonly graph: string
  readonly reason: "Cycle" | "Duplicate" | "Empty"
  /** The nodes of the cycle, or the name that occurs twice. */
  readonly nodes: ReadonlyArray<string>
}> {
  override get message(): string {
    const names = this.nodes.map((name) => `"${name}"`)
    const messages = {
      Cycle: `its nodes form a cycle: ${names.join(" after ")}. Remove one of these dependencies`,
      Duplicate: `two of its nodes have the name ${names.join(", ")}. Give each step and input its own name`,
      Empty: "it has no nodes"
    }
    return `Graph "${this.graph}" is not valid: ${messages[this.reason]}.`
  }
}

/**
 * Makes a graph of its last nodes and all nodes they depend on.
 *
 * @example
 * ```ts
 * import { Graph, Step, Storage, Workflow } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const commit = Graph.input<string>()("commit")
 * const build = Graph.node(
 *   { commit },
 *   Step.make("build", { success: Schema.String, run: ({ commit }) => Effect.succeed(`build of ${commit}`) })
 * )
 * const lint = Graph.node({ commit }, Step.make("lint", { run: () => Effect.void }))
 * const deploy = Graph.node(
 *   { build, lint },
 *   Step.make("deploy", { success: Schema.String, run: ({ build }) => Effect.succeed(`deployed the ${build}`) })
 * )
 *
 * const pipeline = Graph.make("ci", { deploy })
 *
 * const Ci = Workflow.make("ci", { input: Schema.String, success: Schema.String }, (commit) =>
 *   Effect.map(Graph.run(pipeline, { inputs: { commit } }), ({ deploy }) => deploy)
 * )
 *
 * Workflow.execute(Ci, { id: "ci-1", input: "c0ffee" }).pipe(
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then(console.log) // deployed the build of c0ffee
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <const Nodes extends Readonly<Record<string, AnyNode>>>(
  name: string,
  nodes: Nodes
): Graph<Nodes> => {
  return { name: checkName("graph", name), nodes, all: sortNodes(name, Object.values(nodes)) }
}

/** The nodes and all before them, each after the nodes it depends on. */
const sortNodes = (graph: string, roots: ReadonlyArray<AnyNode>): ReadonlyArray<AnyNode> => {
  if (roots.length === 0) throw new GraphInvalid({ graph, reason: "Empty", nodes: [] })
  const sorted = new Set<AnyNode>()
  const names = new Set<string>()

  const visit = (node: AnyNode, path: ReadonlyArray<AnyNode>): void => {
    if (sorted.has(node)) return
    const at = path.indexOf(node)
    if (at >= 0) {
      const cycle = [...path.slice(at), node].map(({ name }) => name)
      throw new GraphInvalid({ graph, reason: "Cycle", nodes: cycle })
    }
    if (names.has(node.name)) throw new GraphInvalid({ graph, reason: "Duplicate", nodes: [node.name] })
    names.add(node.name)
    for (const before of Object.values(node.after)) visit(before, [...path, node])
    sorted.add(node)
  }

  for (const root of roots) visit(root, [])
  return [...sorted]
}

/**
 * @since 0.1.0
 * @category models
 */
export type RunOptions<In> = {
  /** The maximum number of nodes that run at once, at least 1. Defaults to `unbounded`. */
  readonly concurrency?: number | "unbounded" | undefined
} & ([keyof In] extends [never] ? { readonly inputs?: undefined } : { readonly inputs: In })

/**
 * Runs a graph in the body of a workflow. If a node fails after its own recovery,
 * the nodes that depend on it are skipped and all others complete. The graph then
 * fails with `GraphFailed`. A resume runs the nodes that have not completed.
 *
 * @since 0.1.0
 * @category running
 */
export const run = <const Nodes extends Readonly<Record<string, AnyNode>>>(
  graph: Graph<Nodes>,
  ...[options]: [keyof InputsOf<Nodes>] extends [never]
    ? [options?: RunOptions<unknown>]
    : [options: RunOptions<InputsOf<Nodes>>]
): Effect.Effect<
  Outputs<Nodes>,
  [ErrorOf<Nodes[keyof Nodes]>] extends [never] ? never : GraphFailed<ErrorOf<Nodes[keyof Nodes]>>,
  RequirementsOf<Nodes[keyof Nodes]> | Run
> =>
  // The constructors of the nodes tie their results, errors and requirements to these types.
  runGraph(graph, options as RunOptions<Readonly<Record<string, unknown>>> | undefined) as never

/**
 * The outputs of the nodes that completed, among those whose outputs `run` returns.
 *
 * @since 0.1.0
 * @category running
 */
export const partial = <const Nodes extends Readonly<Record<string, AnyNode>>>(
  graph: Graph<Nodes>,
  failed: GraphFailed<unknown>
): Effect.Effect<Partial<Outputs<Nodes>>, ParseResult.ParseError, RequirementsOf<Nodes[keyof Nodes]>> =>
  // The outputs were encoded with the schemas of the steps, whose needs are among those of the nodes.
  decodeOutputs(graph.nodes, failed.completed, failed.outputs) as Effect.Effect<
    Partial<Outputs<Nodes>>,
    ParseResult.ParseError,
    RequirementsOf<Nodes[keyof Nodes]>
  >

/**
 * The graph as a Mermaid flowchart, with the status of each node if a run's
 * status is given.
 *
 * @since 0.1.0
 * @category drawing
 */
export const toMermaid = (graph: Graph<Readonly<Record<string, AnyNode>>>, status?: RunStatus): string =>
  mermaidOf(graph, status)
