import * as readline from "node:readline"
import * as Effect from "effect/Effect"
import { type Ended, ended } from "./exit.js"
import { plain } from "./render/screen.js"

/** Asks at the terminal. The question names what will happen. */
const asked = (question: string): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    const terminal = readline.createInterface({ input: process.stdin, output: process.stderr })
    // Ctrl+C and Ctrl+D close it without an answer.
    terminal.once("close", () => resume(Effect.succeed(false)))
    terminal.question(`${plain(question)} [y/N] `, (answer) => {
      resume(Effect.succeed(/^y(?:es)?$/i.test(answer.trim())))
      terminal.close()
    })
    return Effect.sync(() => terminal.close())
  })

/** Ends the command unless it is confirmed: by `--yes`, or by an answer at the terminal. */
export const confirmed = (yes: boolean, question: string): Effect.Effect<void, Ended> =>
  Effect.suspend((): Effect.Effect<void, Ended> => {
    if (yes) return Effect.void
    if (!process.stdin.isTTY || !process.stderr.isTTY) {
      return ended("Usage", `This needs a confirmation, and there is no terminal to ask at: add --yes. ${question}`)
    }
    return Effect.flatMap(asked(question), (isWanted) =>
      isWanted ? Effect.void : ended("Refused", "Nothing was changed.", "Declined")
    )
  })
