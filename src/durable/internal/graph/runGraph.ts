import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { AnyNode, Graph } from "../../Graph.js"
import { GraphFailed, ReplayMismatch, StepConflict } from "../../RunError.js"
import type { Permit } from "../execution/activity.js"
import * as Execution from "../execution/execution.js"
import { encodeOutputs } from "./outputs.js"

interface Options {
  readonly concurrency?: number | "unbounded" | undefined
  readonly inputs?: Readonly<Record<string, unknown>> | undefined
}

/** What became of a node; skipped because of the first that failed before it. */
type Ended =
  | { readonly _tag: "Done"; readonly value: unknown }
  | { readonly _tag: "Failed"; readonly cause: Cause.Cause<unknown> }
  | { readonly _tag: "Skipped"; readonly because: string }

type Pending = ReadonlyMap<AnyNode, Deferred.Deferred<Ended>>

export const runGraph = (
  graph: Graph<Readonly<Record<string, AnyNode>>>,
  { concurrency = "unbounded", inputs = {} }: Options = {}
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.flatMap(Execution.Run, (run) =>
    Effect.withFiberRuntime((fiber) => {
      if (concurrency !== "unbounded" && !(Number.isInteger(concurrency) && concurrency >= 1)) {
        return Effect.die(
          new RangeError(`Graph.run: concurrency must be a whole number from 1 on, or "unbounded", not ${concurrency}`)
        )
      }
      // Each use of the graph has a section of its own, which no other name can produce.
      const use = Execution.claimKey(run, graph.name, fiber, graphMark)
      if (use instanceof StepConflict) return Execution.stop(run.execution, use)
      const section = `${use}/`
      const mismatch = unknownNode(run.execution, section, graph)
      if (mismatch !== undefined) return Execution.stop(run.execution, mismatch)
      return Effect.ensuring(
        Effect.provideService(runNodes(graph, concurrency, inputs), Execution.Run, { ...run, section }),
        Effect.sync(() => Execution.releaseKey(run, graph.name, graphMark))
      )
    })
  )

/** Names cannot hold it: brackets are escaped in them. */
export const graphMark = "[graph]"

/** Nodes run side by side, so their order says nothing; but one the journal has must be one of the graph. */
const unknownNode = (
  { id, journal }: Execution.Execution,
  section: string,
  { all }: Graph<Readonly<Record<string, AnyNode>>>
): ReplayMismatch | undefined => {
  const known = new Set(all.map(({ name }) => Execution.escapeName(name)))
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
    const pending: Pending = new Map(
      yield* Effect.forEach(graph.all, (node) => Effect.map(Deferred.make<Ended>(), (ended) => [node, ended] as const))
    )
    yield* Effect.forEach(
      graph.all,
      (node) =>
        Effect.flatMap(runNode(node, pending, permits, inputs), (ended) =>
          Deferred.succeed(pending.get(node) as Deferred.Deferred<Ended>, ended)
        ),
      { concurrency: "unbounded", discard: true }
    )
    const ended = new Map(
      yield* Effect.forEach(graph.all, (node) =>
        Effect.map(Deferred.await(pending.get(node) as Deferred.Deferred<Ended>), (one) => [node, one] as const)
      )
    )
    return yield* settle(graph, ended)
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
    // The node's own type says that its step takes what those before it make.
    const work = Effect.exit(Effect.suspend(() => step(outputs as never)))
    const exit = yield* permits.withPermits(1)(withPermit(work, { release: permits.release(1), take: permits.take(1) }))
    return Exit.isSuccess(exit) ? { _tag: "Done", value: exit.value } : { _tag: "Failed", cause: exit.cause }
  })

/** A node that waits lets others work meanwhile. */
const withPermit = <A, E, R>(self: Effect.Effect<A, E, R>, permit: Permit): Effect.Effect<A, E, R | Execution.Run> =>
  Effect.flatMap(Execution.Run, (run) => Effect.provideService(self, Execution.Run, { ...run, permit }))

/** All of them have ended, whatever the others came to. */
const settle = (graph: Graph<Readonly<Record<string, AnyNode>>>, ended: ReadonlyMap<AnyNode, Ended>) =>
  Effect.gen(function* () {
    const done = new Map([...ended].flatMap(([node, one]) => (one._tag === "Done" ? [[node, one.value] as const] : [])))
    const failed = [...ended].flatMap(([node, one]) => (one._tag === "Failed" ? [[node, one.cause] as const] : []))
    const bugs = failed.filter(([, cause]) => Cause.isDie(cause) || !Cause.isFailure(cause))
    // A defect or an interruption is nothing a program could answer.
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
