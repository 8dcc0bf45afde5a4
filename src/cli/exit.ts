import * as Data from "effect/Data"
import type { Refusal } from "../operate/OperatorRequests.js"

/** Every exit code with its meaning; `docs/operate/cli.md` documents them, too. */
export const exits = {
  Done: [0, "done"],
  Failed: [1, "the request was carried out and failed"],
  Usage: [2, "the command line is wrong"],
  NotFound: [3, "there is no record with this id"],
  Refused: [4, "refused in the current state; nothing was changed"],
  Storage: [5, "the storage failed"],
  Config: [6, "the configuration cannot be used"],
  Defect: [70, "a bug"]
} as const

/** Ends the program with an exit code and a message. */
export class Ended extends Data.TaggedError("Ended")<{
  readonly code: number
  readonly tag: string
  readonly message: string
}> {}

/** Ends the program for one of the reasons in the table of exit codes. */
export const ended = (reason: keyof typeof exits, message: string, tag: string = reason): Ended =>
  new Ended({ code: exits[reason][0], tag, message })

export const endedBy = ({ kind, message, tag }: Refusal): Ended => ended(kind, message, tag)

let signal: NodeJS.Signals | undefined

/** The signal that ends this program, if it received one. */
export const receivedSignal = (): NodeJS.Signals | undefined => signal

export const receiveSignal = (received: NodeJS.Signals): void => {
  signal = received
}
