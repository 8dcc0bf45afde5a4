import * as Schema from "effect/Schema"
import type { Entry } from "../../../storage/Storage.js"

/** A `WaitStarted` line. */
const Line = Schema.parseJson(
  Schema.Struct({
    kind: Schema.Literal("sleep", "signal", "question"),
    /** The key of the signal that ends the wait. */
    signal: Schema.optional(Schema.String),
    /** When the wait ends without a signal, epoch milliseconds. */
    until: Schema.optional(Schema.Number),
    /** The question, or the name of the signal or sleep. */
    about: Schema.String,
    /** Who is asked. */
    to: Schema.optional(Schema.String),
    /** The failure behind a question. */
    fault: Schema.optional(
      Schema.Struct({ category: Schema.String, message: Schema.String, tag: Schema.optional(Schema.String) })
    ),
    /** The parameters an answer may change. */
    parameters: Schema.optional(Schema.Array(Schema.String)),
    /** Why the previous answer was refused. */
    refused: Schema.optional(Schema.String),
    /** The wait is in the body's own fiber, so its place in the order is certain. */
    root: Schema.optional(Schema.Boolean)
  })
)

export type WaitLine = typeof Line.Type

/** A wait, and since when it waits, epoch milliseconds. */
export type StartedWait = WaitLine & { readonly startedAt: number }

/** A `WaitEnded` line: with the payload of the signal, or without one because the time was up. */
const End = Schema.parseJson(
  Schema.Struct({
    payload: Schema.optional(Schema.String),
    /** Why the answer was refused. */
    refused: Schema.optional(Schema.String)
  })
)

export type WaitEnd = typeof End.Type

const decodeLine = Schema.decodeUnknownSync(Line)
const decodeEndLine = Schema.decodeUnknownSync(End)

export const decodeWait = ({ payload }: Entry): WaitLine => decodeLine(payload)
export const decodeEnd = ({ payload }: Entry): WaitEnd => decodeEndLine(payload)
export const encodeWait = (line: WaitLine): string => JSON.stringify(line)
export const encodeEnd = (end: WaitEnd): string => JSON.stringify(end)
