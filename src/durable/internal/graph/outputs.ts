import * as Effect from "effect/Effect"
import type { AnyNode } from "../../Graph.js"
import { codecOf } from "../step/definition.js"

type Json = Readonly<Record<string, unknown>>

/** The step behind a node knows how its result is written. */
const codec = ({ made }: AnyNode) => (made === undefined ? undefined : codecOf(made))

/** Of the nodes that have come to their end; what cannot be written is left out, since the failure says more. */
export const encodeOutputs = (nodes: ReadonlyArray<AnyNode>, values: ReadonlyMap<AnyNode, unknown>) =>
  Effect.map(
    Effect.forEach(nodes, (node) =>
      values.has(node) && codec(node) !== undefined
        ? Effect.match(codec(node)?.encode(values.get(node)) ?? Effect.succeed(undefined), {
            onFailure: () => [],
            onSuccess: (text) => (text === undefined ? [] : [[node.name, JSON.parse(text)] as const])
          })
        : Effect.succeed([])
    ),
    (pairs): Json => Object.fromEntries(pairs.flat())
  )

export const decodeOutputs = (
  nodes: Readonly<Record<string, AnyNode>>,
  completed: ReadonlyArray<string>,
  outputs: Json
) =>
  Effect.map(
    Effect.forEach(Object.entries(nodes), ([name, node]) =>
      completed.includes(node.name)
        ? Effect.map(
            codec(node)?.decode(Object.hasOwn(outputs, node.name) ? JSON.stringify(outputs[node.name]) : undefined) ??
              Effect.succeed(undefined),
            (value) => [[name, value] as const]
          )
        : Effect.succeed([])
    ),
    (pairs): Json => Object.fromEntries(pairs.flat())
  )
