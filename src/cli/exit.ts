import * as Data from "effect/Data"
import type { Reply } from "../operate/Operator.js"

/** What the command line ends with; documented in `docs/operate/cli.md`. */
export const exitCodes = {
  /** It was tried, and failed: a recovery that did not recover, a checkpoint that is not valid. */
  Failed: 1,
  /** The command line is wrong. */
  Usage: 2,
  /** Nothing has this id. */
  NotFound: 3,
  /** It cannot be done as things stand; nothing was changed. */
  Refused: 4,
  /** The storage is in trouble. */
  Storage: 5,
  /** The configuration cannot be used. */
  Config: 6,
  /** A bug. */
  Defect: 70
} as const

/** Ends the program with a code and a message. */
export class Ended extends Data.TaggedError("Ended")<{
  readonly code: number
  readonly tag: string
  readonly message: string
}> {}

export const endedBy = ({ kind, message, tag }: Extract<Reply, { readonly ok: false }>): Ended =>
  new Ended({ code: exitCodes[kind], tag, message })
