/** What the same durable workflow of four steps has in common in both engines. */
import * as Schema from "effect/Schema"

export const Result = Schema.Struct({ id: Schema.String, n: Schema.Number })

export const numbers = [1, 2, 3, 4]
