/**
 * A graph of steps: each node takes what the nodes before it have made, and
 * nodes that do not wait for one another run side by side. Nodes are values,
 * so a name there is not, or a circle, cannot be written.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as ParseResult from "effect/ParseResult"
import type * as Types from "effect/Types"
import type { Run } from "./internal/execution/execution.js"
import { mermaidOf } from "./internal/graph/mermaid.js"
import { decodeOutputs } from "./internal/graph/outputs.js"
import { runGraph } from "./internal/graph/runGraph.js"
import { sortNodes } from "./internal/graph/sort.js"
import { definitionOf } from "./internal/step/definition.js"
import type { GraphFailed } from "./RunError.js"
import type { Step } from "./Step.js"
import type { RunStatus } from "./Workflow.js"

export {
  /**
   * Nodes of a graph failed.
   *
   * @since 0.1.0
   * @category errors
   */
  GraphFailed
} from "./RunError.js"

/**
 * A node: makes an `A`, or fails with `E`, its own or that of a node before
 * it. `In` are the inputs it and those before it need.
 *
 * @since 0.1.0
 * @category models
 */
export interface Node<out A, out E = never, out R = never, in In = unknown> {
  readonly name: string
  /** What it comes after, by the names under which it is handed what they made. */
  readonly after: Readonly<Record<string, AnyNode>>
  /** Nothing for an input. */
  readonly step: ((outputs: never) => Step<A, E, R>) | undefined
  /** @internal What Step.make has made. */
  readonly made?: object | undefined
  /** @internal */
  readonly _In?: Types.Contravariant<In>
}

/**
 * @since 0.1.0
 * @category models
 */
export type AnyNode = Node<unknown, unknown, unknown, never>

/**
 * What nodes make, by name.
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
  // As parameters, since a node without inputs must add nothing.
  {
    [Name in keyof Nodes]: Nodes[Name] extends Node<unknown, unknown, unknown, infer In> ? (inputs: In) => void : never
  }[keyof Nodes] extends (inputs: infer All) => void
    ? All
    : never
>

/**
 * Something the graph is given when it runs.
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
 * A node of a step. With nodes it comes after, the step takes what they made.
 *
 * @since 0.1.0
 * @category constructors
 */
export const node: {
  <A, E, R>(step: Step<A, E, R>): Node<A, E, R>
  <const After extends Readonly<Record<string, AnyNode>>, A, E, R>(
    after: After,
    step: ((outputs: Outputs<After>) => Step<A, E, R>) | (() => Step<A, E, R>) | Step<A, E, R>
  ): Node<A, E | ErrorOf<After[keyof After]>, R | RequirementsOf<After[keyof After]>, InputsOf<After>>
} = (first: object, second?: unknown): never => {
  const after = second === undefined ? {} : first
  const step = (second ?? first) as { readonly name: string }
  if (!isStep(step)) {
    throw new TypeError("Graph.node takes what Step.make has made; a function around it would hide the step's name")
  }
  // The overloads tie the step's argument to what the nodes before it make.
  return { name: step.name, after, step: typeof step === "function" ? step : () => step, made: step } as never
}

/** What hands over a node's step is made of it alone. */
const isStep = (made: object): boolean => definitionOf(made) !== undefined

/**
 * @since 0.1.0
 * @category models
 */
export interface Graph<Nodes extends Readonly<Record<string, AnyNode>>> {
  readonly name: string
  /** What it answers with. */
  readonly nodes: Nodes
  /** These and all they come after, in an order in which they can run. */
  readonly all: ReadonlyArray<AnyNode>
}

/**
 * A graph that cannot be: a node comes after itself, or two nodes have one
 * name. Thrown when the graph is made.
 *
 * @since 0.1.0
 * @category errors
 */
export class GraphInvalid extends Data.TaggedError("GraphInvalid")<{
  readonly graph: string
  readonly reason: "Cycle" | "Duplicate" | "Empty"
  /** The way round, or the name. */
  readonly nodes: ReadonlyArray<string>
}> {
  override get message(): string {
    const names = this.nodes.map((name) => `"${name}"`)
    const messages = {
      Cycle: `its nodes go round in a circle: ${names.join(" after ")}. Take one of these out`,
      Duplicate: `two of its nodes are called ${names.join(", ")}. Give each step and input a name of its own`,
      Empty: "it has no nodes"
    }
    return `Graph "${this.graph}" cannot be made: ${messages[this.reason]}.`
  }
}

/**
 * Makes a graph of its last nodes and all they come after.
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
  const all = sortNodes(Object.values(nodes))
  if ("reason" in all) throw new GraphInvalid({ graph: name, ...all })
  return { name, nodes, all: all.nodes }
}

/**
 * @since 0.1.0
 * @category models
 */
export type RunOptions<In> = {
  /** How many nodes at once. Defaults to all that can. */
  readonly concurrency?: number | "unbounded" | undefined
} & ([keyof In] extends [never] ? { readonly inputs?: undefined } : { readonly inputs: In })

/**
 * Runs a graph in the body of a workflow. A node that fails, after what its
 * own strategies could do, keeps those from running that come after it; all
 * others come to their end. Then it fails with `GraphFailed`. Resumed, the
 * graph runs what is missing.
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
  // Each node was given for just these types.
  runGraph(graph, options as RunOptions<Readonly<Record<string, unknown>>> | undefined) as never

/**
 * What the nodes made that came to their end, of those the graph answers with.
 *
 * @since 0.1.0
 * @category running
 */
export const partial = <const Nodes extends Readonly<Record<string, AnyNode>>>(
  graph: Graph<Nodes>,
  failed: GraphFailed<unknown>
): Effect.Effect<Partial<Outputs<Nodes>>, ParseResult.ParseError> =>
  // They were written by the steps' own schemas.
  decodeOutputs(graph.nodes, failed.completed, failed.outputs) as Effect.Effect<
    Partial<Outputs<Nodes>>,
    ParseResult.ParseError
  >

/**
 * The graph as a Mermaid flowchart; with the status of a run, how each node
 * stands.
 *
 * @since 0.1.0
 * @category drawing
 */
export const toMermaid = (graph: Graph<Readonly<Record<string, AnyNode>>>, status?: RunStatus): string =>
  mermaidOf(graph, status)
