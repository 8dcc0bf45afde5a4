import * as Schema from "effect/Schema"
import { GraphFailed } from "../../RunError.js"

type AnySchema = Schema.Schema<unknown, unknown, unknown>

/** How a graph that failed is written, by how the errors of its nodes are. */
export const graphFailed = (error: AnySchema): AnySchema => {
  const fields = Schema.Struct({
    _tag: Schema.tag("GraphFailed"),
    graph: Schema.String,
    failures: Schema.Array(Schema.Struct({ node: Schema.String, error })),
    skipped: Schema.Array(Schema.Struct({ node: Schema.String, because: Schema.String })),
    completed: Schema.Array(Schema.String),
    outputs: Schema.Record({ key: Schema.String, value: Schema.Unknown })
  })
  const self = Schema.declare((input): input is GraphFailed<unknown> => input instanceof GraphFailed)
  return Schema.transform(fields, self, {
    strict: true,
    decode: (props) => new GraphFailed(props),
    encode: ({ completed, failures, graph, outputs, skipped }) => ({
      _tag: "GraphFailed" as const,
      graph,
      failures: failures.map(({ error, node }) => ({ node, error })),
      skipped,
      completed,
      outputs
    })
  }) as AnySchema
}
