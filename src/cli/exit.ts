import * as Data from "effect/Data"
import type { Refusal } from "../operate/OperatorRequests.js"
import { exits } from "./exits.js"
import { inCommands } from "./inCommands.js"

/** Ends the program with an exit code and a message. */
export class Ended extends Data.TaggedError("Ended")<{
  readonly code: number
  readonly tag: string
  readonly message: string
}> {}

/** Ends the program for one of the reasons in the table of exit codes. */
export const ended = (reason: keyof typeof exits, message: string, tag: string = reason): Ended =>
  new Ended({ code: exits[reason][0], tag, message })

/** What is wrong with the storage or the program is said with the file that defines them: `where`. */
export const endedBy = ({ kind, message, tag }: Refusal, where: string): Ended =>
  ended(kind, kind === "Storage" || kind === "Defect" ? `${message} (${where})` : inCommands(message), tag)
