import * as Schema from "effect/Schema"
import type { Entry, Rewound } from "../../../storage/Storage.js"

/** A rewind as the journal has it: its beginning and its end tell the same. */
const Line = Schema.parseJson(
  Schema.Struct({
    /** The seq of the line it was begun with; 0 for one that needed no compensation. */
    begun: Schema.Number,
    after: Schema.Number,
    within: Schema.String,
    /** Which recovery, or who from outside. */
    by: Schema.String,
    /** Where to, in words. */
    point: Schema.String,
    reason: Schema.String
  })
)

export interface RewindRecord extends Rewound {
  readonly begun: number
  readonly by: string
  readonly point: string
  readonly reason: string
  readonly at: number
}

const decode = Schema.decodeUnknownSync(Line)

export const decodeRewind = (entry: Entry): RewindRecord => ({ ...decode(entry.payload), at: entry.at })

export const encodeRewind = ({ after, begun, by, point, reason, within }: Omit<RewindRecord, "at">): string =>
  JSON.stringify({ begun, after, within, by, point, reason })
