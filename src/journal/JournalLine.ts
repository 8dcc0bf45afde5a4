import * as Schema from "effect/Schema"
import type { Event, Outcome as RecoveryOutcome } from "../resilience/Events.js"
import { FaultRecord } from "../resilience/FaultRecord.js"
import type { Entry, Outcome, Rewound } from "../storage/Storage.js"

/** The payload of a step's first line: it is a pivot or has a compensation, and its order is certain. */
export const markOf = (step: { readonly pivot: boolean; readonly undo: boolean; readonly root: boolean }) => {
  const marks = [
    step.pivot ? `"pivot":true` : step.undo ? `"undo":true` : undefined,
    step.root ? `"root":true` : undefined
  ]
  const text = marks.filter((mark) => mark !== undefined).join()
  return text === "" ? undefined : `{${text}}`
}

/** A `WaitStarted` or `ChildStarted` line. */
const Line = Schema.parseJson(
  Schema.Struct({
    kind: Schema.Literal("sleep", "signal", "question", "child"),
    /** The key of the signal that ends the wait. */
    signal: Schema.optional(Schema.String),
    /** When the wait ends without a signal, epoch milliseconds. */
    until: Schema.optional(Schema.Number),
    /** The question, or the name of the signal, sleep or child. */
    about: Schema.String,
    /** Who is asked. */
    to: Schema.optional(Schema.String),
    /** The child run, and what the program does with it. */
    child: Schema.optional(
      Schema.Struct({
        run: Schema.String,
        workflow: Schema.String,
        use: Schema.Literal("execute", "start", "join")
      })
    ),
    /** The failure behind a question. */
    fault: Schema.optional(
      Schema.Struct({ category: Schema.String, message: Schema.String, tag: Schema.optional(Schema.String) })
    ),
    /** The parameters an answer may change. */
    parameters: Schema.optional(Schema.Array(Schema.String)),
    /** Why the previous answer was refused. */
    refused: Schema.optional(Schema.String),
    /** The JSON Schema of the value that ends the wait. */
    schema: Schema.optional(Schema.Unknown),
    /** The value that ends the wait holds secrets. */
    secret: Schema.optional(Schema.Boolean),
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

/** A `ChildEnded` line: with the outcome of the child, or without one if it was only started, or does not exist. */
const ChildEnd = Schema.parseJson(
  Schema.Struct({
    status: Schema.optional(Schema.Literal("completed", "failed", "exhausted", "cancelled")),
    /** Absent for a result without a value. */
    exit: Schema.optional(Schema.Unknown)
  })
)

/** What is on record of a child. */
export type ChildOutcome = Pick<Outcome, "status" | "exit">

const decodeChildLine = Schema.decodeUnknownSync(ChildEnd)

export const decodeChildEnd = (payload: string | undefined): ChildOutcome | undefined => {
  const { exit, status } = decodeChildLine(payload)
  return status && { status, exit: exit === undefined ? "" : JSON.stringify(exit) }
}

/** The exit is JSON, and stays a part of the line's JSON: a reader can hide the secrets in it. */
export const encodeChildEnd = (outcome: ChildOutcome | undefined): string =>
  outcome === undefined ? "{}" : `{"status":"${outcome.status}"${outcome.exit === "" ? "" : `,"exit":${outcome.exit}`}}`

const decodeLine = Schema.decodeUnknownSync(Line)
const decodeEndLine = Schema.decodeUnknownSync(End)

export const decodeWait = ({ payload }: Entry): WaitLine => decodeLine(payload)
export const decodeEnd = ({ payload }: Entry): WaitEnd => decodeEndLine(payload)
export const encodeWait = (line: WaitLine): string => JSON.stringify(line)
export const encodeEnd = (end: WaitEnd): string => JSON.stringify(end)

/** A `RewindStarted` or `Rewound` line. */
const RewindLine = Schema.parseJson(
  Schema.Struct({
    /** The number of the `RewindStarted` line; 0 for a rewind without compensations. */
    begun: Schema.Number,
    after: Schema.Number,
    within: Schema.String,
    /** The strategy and where it decided, or the caller of `Workflow.rewind`. */
    by: Schema.String,
    /** The point, in words. */
    point: Schema.String,
    reason: Schema.String
  })
)

export type RewindRecord = Rewound & typeof RewindLine.Type & { readonly at: number }

const decodeRewindLine = Schema.decodeUnknownSync(RewindLine)

export const decodeRewind = ({ at, payload }: Entry): RewindRecord => ({ ...decodeRewindLine(payload), at })

/** A transaction that restarts names itself. */
export const isRestart = ({ by, within }: RewindRecord): boolean => within !== "" && by === within

export const encodeRewind = ({ after, begun, by, point, reason, within }: Omit<RewindRecord, "at">): string =>
  JSON.stringify({ begun, after, within, by, point, reason })

/** A `StateSet` line. */
const WriteLine = Schema.parseJson(
  Schema.Struct({
    cell: Schema.String,
    /** The encoded value; absent for undefined. */
    text: Schema.optional(Schema.String),
    /** The step that wrote it; `undefined` for the body of the workflow. */
    step: Schema.optional(Schema.String)
  })
)

export type WriteLine = typeof WriteLine.Type

const decodeWriteLine = Schema.decodeUnknownSync(WriteLine)

export const encodeWrite = (line: WriteLine): string => JSON.stringify(line)
export const decodeWrite = ({ payload }: Entry): WriteLine => decodeWriteLine(payload)

/** Why a transaction is rolled back. A run that was `stopped` continues later, and restarts the transaction. */
export type RollbackReason = Extract<Event, { readonly _tag: "RollbackStarted" }>["reason"]

/** A `RollbackStarted`, `RolledBack` or `RollbackFailed` line. */
const RollbackLine = Schema.parseJson(
  Schema.Struct({
    reason: Schema.optionalWith(Schema.Literal("failed", "interrupted", "died", "stopped", "cancelled"), {
      default: () => "failed" as const
    }),
    /** The encoded cause; absent if the workflow's error schema could not write it. */
    cause: Schema.optional(Schema.String),
    /** The compensations that failed, with their encoded causes. */
    failures: Schema.optionalWith(Schema.Array(Schema.Struct({ undo: Schema.String, cause: Schema.String })), {
      default: () => []
    }),
    pivot: Schema.optional(Schema.NullOr(Schema.String)),
    remaining: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
  })
)

export type RollbackLine = typeof RollbackLine.Type

const decodeRollbackLine = Schema.decodeUnknownSync(RollbackLine)

export const decodeRollback = ({ payload }: Entry): RollbackLine => decodeRollbackLine(payload ?? "{}")

/** A `CheckpointSaved` line: the checkpoint, or null if none was due. */
const SavedLine = Schema.parseJson(Schema.NullOr(Schema.Struct({ id: Schema.String, name: Schema.String })))

const decodeSavedLine = Schema.decodeUnknownSync(SavedLine)

export const decodeSaved = ({ payload }: Entry): typeof SavedLine.Type => decodeSavedLine(payload)

/** A `CheckpointRead` line. What it holds depends on the operation, which decodes it. */
export const decodeRead: (entry: Entry) => unknown = ({ payload }) => decodeJson(payload)

const decodeJson = Schema.decodeUnknownSync(Schema.parseJson())

const decodePatchedLine = Schema.decodeUnknownSync(Schema.parseJson(Schema.Boolean))

/** A `Patched` line: whether the run takes the changed code. */
export const decodePatched = ({ payload }: Entry): boolean => decodePatchedLine(payload)

/** A `Decided` line: a decision of a recovery in the body. */
const DecidedLine = Schema.parseJson(
  Schema.Struct({
    /** How many earlier decisions of the recovery hold. A program that has changed may decide otherwise from there on. */
    after: Schema.NonNegativeInt,
    /** The name of the recovery. */
    recovery: Schema.optional(Schema.String),
    /** The step that failed, if the failure came out of one. */
    step: Schema.optional(Schema.String),
    decision: Schema.Literal("Again", "Instead", "Rewind", "HandOver", "GiveUp"),
    /** The strategy that decided. */
    by: Schema.String,
    /** When the next attempt starts, epoch milliseconds. */
    next: Schema.optional(Schema.Number),
    fault: FaultRecord
  })
)

export type DecidedLine = typeof DecidedLine.Type

const decodeDecidedLine = Schema.decodeUnknownSync(DecidedLine)

export const decodeDecided = ({ payload }: Entry): DecidedLine => decodeDecidedLine(payload)
export const encodeDecided = (line: DecidedLine): string => JSON.stringify(line)

/** A `RecoveryEnded` line. */
const EndedLine = Schema.parseJson(
  Schema.Struct({ outcome: Schema.Literal("recovered", "exhausted", "failed", "interrupted") })
)

const decodeEndedLine = Schema.decodeUnknownSync(EndedLine)

export const decodeEnded = ({ payload }: Entry): { readonly outcome: RecoveryOutcome } => decodeEndedLine(payload)
export const encodeEnded = (outcome: RecoveryOutcome): string => JSON.stringify({ outcome })
