import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Permit } from "../../durable/internal/execution/activity.js"
import { resting } from "../../durable/internal/execution/bodyFibers.js"
import * as Execution from "../../durable/internal/execution/execution.js"
import { codecOf } from "../../durable/internal/step/definition.js"
import { GraphFailed, ReplayMismatch } from "../../journal/RunError.js"
import { whole } from "../../resilience/internal/kernel/options.js"
import { escapeName } from "../../resilience/Key.js"
import type { Restore } from "../../storage/Storage.js"
import type { AnyNode, Graph } from "../Graph.js"

interface Options {
  readonly concurrency?: number | "unbounded" | undefined
  readonly inputs?: Readonly<Record<string, unknown>> | undefined
}

/** The result of a node. `because` names the failed node that it depends on. */
type Ended =
  | { readonly _tag: "Done"; readonly value: unknown }
  | { readonly _tag: "Failed"; readonly cause: Cause.Cause<unknown> }
  | { readonly _tag: "Skipped"; readonly because: string }

type Pending = ReadonlyMap<AnyNode, Deferred.Deferred<Ended>>

export const runGraph = (
  graph: Graph<Readonly<Record<string, AnyNode>>>,
  { concurrency = "unbounded", inputs = {} }: Options = {}
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.flatMap(Execution.currentRun, (run) => {
    if (concurrency !== "unbounded") whole("concurrency", concurrency, 1)
    // Each execution of the graph has its own section. The mark prevents a clash with sections of the program.
    const use = (key: string, restore: Restore) => {
      const section = `${key}/`
      const mismatch = unknownNode(run.execution, section, graph)
      return mismatch === undefined
        ? restore(Effect.provideService(runNodes(graph, concurrency, inputs), Execution.Run, { ...run, section }))
        : Execution.stop(run.execution, mismatch)
    }
    return Execution.withKey(run, graph.name, use, graphMark)
  })

/** Cannot occur in a name, since brackets in names are escaped. */
export const graphMark = "[graph]"

/** Nodes run concurrently, so their order is not checked. But each node in the journal must be a node of the graph. */
const unknownNode = (
  { id, journal }: Execution.Execution,
  section: string,
  { all }: Graph<Readonly<Record<string, AnyNode>>>
): ReplayMismatch | undefined => {
  const known = new Set(all.map(({ name }) => escapeName(name)))
  for (const key of journal.steps.keys()) {
    if (!key.startsWith(section)) continue
    const name = key.slice(section.length).replace(/[#/].*$/, "")
    if (known.has(name)) continue
    return new ReplayMismatch({
      run: id,
      reason: "Missing",
      recorded: key,
      found: `the nodes ${[...known].join(", ")}`
    })
  }
  return undefined
}

const runNodes = (
  graph: Graph<Readonly<Record<string, AnyNode>>>,
  concurrency: number | "unbounded",
  inputs: Readonly<Record<string, unknown>>
) =>
  Effect.gen(function* () {
    const permits = yield* Effect.makeSemaphore(concurrency === "unbounded" ? graph.all.length : concurrency)
    const pending = new Map(graph.all.map((node) => [node, Deferred.unsafeMake<Ended>(resting)]))
    const ended = yield* Effect.forEach(
      pending,
      ([node, own]) =>
        Effect.flatMap(runNode(node, pending, permits, inputs), (ended) =>
          Effect.as(Deferred.succeed(own, ended), [node, ended] as const)
        ),
      { concurrency: "unbounded" }
    )
    return yield* resultOf(graph, new Map(ended))
  })

const runNode = (
  node: AnyNode,
  pending: Pending,
  permits: Effect.Semaphore,
  inputs: Readonly<Record<string, unknown>>
): Effect.Effect<Ended, never, unknown> =>
  Effect.gen(function* () {
    const outputs: Record<string, unknown> = {}
    for (const [name, before] of Object.entries(node.after)) {
      const ended = yield* Deferred.await(pending.get(before) as Deferred.Deferred<Ended>)
      if (ended._tag === "Failed") return { _tag: "Skipped", because: before.name }
      if (ended._tag === "Skipped") return ended
      outputs[name] = ended.value
    }
    if (node.step === undefined) return { _tag: "Done", value: inputs[node.name] }
    const { step } = node
    // The type of the node ensures that its step takes the outputs of the nodes before it.
    const work = Effect.exit(Effect.suspend(() => step(outputs as never)))
    const exit = yield* permits.withPermits(1)(withPermit(work, { release: permits.release(1), take: permits.take(1) }))
    return Exit.isSuccess(exit) ? { _tag: "Done", value: exit.value } : { _tag: "Failed", cause: exit.cause }
  })

/** A node that waits releases its permit, so that others can run. */
const withPermit = <A, E, R>(self: Effect.Effect<A, E, R>, permit: Permit): Effect.Effect<A, E, R | Execution.Run> =>
  Effect.flatMap(Execution.currentRun, (run) => Effect.provideService(self, Execution.Run, { ...run, permit }))

/** Combines the results of all nodes. */
const resultOf = (graph: Graph<Readonly<Record<string, AnyNode>>>, ended: ReadonlyMap<AnyNode, Ended>) =>
  Effect.gen(function* () {
    const done = new Map([...ended].flatMap(([node, one]) => (one._tag === "Done" ? [[node, one.value] as const] : [])))
    const failed = [...ended].flatMap(([node, one]) => (one._tag === "Failed" ? [[node, one.cause] as const] : []))
    const bugs = failed.filter(([, cause]) => Cause.isDie(cause) || !Cause.isFailure(cause))
    // Defects and interruptions are not typed failures, so they are not part of GraphFailed.
    const [bug, ...others] = bugs.map(([, cause]) => cause)
    if (bug !== undefined) return yield* Effect.failCause(others.reduce(Cause.parallel, bug))
    if (failed.length === 0) {
      return Object.fromEntries(Object.entries(graph.nodes).map(([name, node]) => [name, done.get(node)]))
    }
    return yield* new GraphFailed<unknown>({
      graph: graph.name,
      failures: failed.map(([node, cause]) => ({ node: node.name, error: Cause.squash(cause) })),
      skipped: [...ended].flatMap(([node, one]) =>
        one._tag === "Skipped" ? [{ node: node.name, because: one.because }] : []
      ),
      completed: [...done.keys()].filter(({ step }) => step !== undefined).map(({ name }) => name),
      outputs: yield* encodeOutputs(graph.all, done)
    })
  })

type Outputs = Readonly<Record<string, unknown>>

const codec = ({ made }: AnyNode) => (made === undefined ? undefined : codecOf(made))

/** The outputs of completed steps. Those that cannot be encoded are omitted: the graph's own failure matters more. */
const encodeOutputs = (nodes: ReadonlyArray<AnyNode>, values: ReadonlyMap<AnyNode, unknown>) =>
  collect(
    nodes.filter((node) => values.has(node)),
    (node) =>
      Effect.match(codec(node)?.encode(values.get(node)) ?? Effect.succeed(undefined), {
        onFailure: () => [],
        onSuccess: (text) => (text === undefined ? [] : [[node.name, JSON.parse(text)]])
      })
  )

export const decodeOutputs = (
  nodes: Readonly<Record<string, AnyNode>>,
  completed: ReadonlyArray<string>,
  outputs: Outputs
) =>
  collect(
    Object.entries(nodes).filter(([, node]) => completed.includes(node.name)),
    ([name, node]) => {
      const text = Object.hasOwn(outputs, node.name) ? JSON.stringify(outputs[node.name]) : undefined
      return Effect.map(codec(node)?.decode(text) ?? Effect.succeed(undefined), (value) => [[name, value]])
    }
  )

const collect = <A, E, R>(
  all: ReadonlyArray<A>,
  toPairs: (one: A) => Effect.Effect<ReadonlyArray<readonly [name: string, value: unknown]>, E, R>
): Effect.Effect<Outputs, E, R> => Effect.map(Effect.forEach(all, toPairs), (pairs) => Object.fromEntries(pairs.flat()))
