import * as Schema from "effect/Schema"
import type { Entry } from "../../../storage/Storage.js"

/** What is waited for, as the journal has it. */
const Line = Schema.parseJson(
  Schema.Struct({
    kind: Schema.Literal("sleep", "signal", "question"),
    /** Under which key the signal comes that ends it. */
    signal: Schema.optional(Schema.String),
    /** When it is over by itself. */
    until: Schema.optional(Schema.Number),
    /** What is asked, or the name of the signal. */
    about: Schema.String,
    /** Who is to answer. */
    to: Schema.optional(Schema.String),
    /** The failure behind a question. */
    fault: Schema.optional(
      Schema.Struct({ category: Schema.String, message: Schema.String, tag: Schema.optional(Schema.String) })
    ),
    /** The parameters an answer may change. */
    parameters: Schema.optional(Schema.Array(Schema.String)),
    /** Why the answer before was refused. */
    refused: Schema.optional(Schema.String),
    root: Schema.optional(Schema.Boolean)
  })
)

export type WaitLine = typeof Line.Type

/** How it ended: with what it was told, or because its time had come. */
const End = Schema.parseJson(
  Schema.Struct({
    payload: Schema.optional(Schema.String),
    /** Why the answer did not do. */
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
