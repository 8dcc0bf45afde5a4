import type * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { screenOf, withoutStyles } from "./render/screen.js"

/** Removes styles from the output to a stream that shows no colours, also those of the command line parser. */
export const plainConsole = (console: Console.Console): Console.Console => {
  const write = (stream: NodeJS.WriteStream) => (text: unknown) =>
    Effect.sync(() => {
      stream.write(`${screenOf(stream).colour ? String(text) : withoutStyles(String(text))}\n`)
    })
  return { ...console, log: write(process.stdout), error: write(process.stderr) }
}
