import type * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Screen } from "./render/table.js"

// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is meant
const styles = /\u001b\[[0-9;]*m/g

const write = (stream: NodeJS.WriteStream, screen: Screen) => (text: unknown) =>
  Effect.sync(() => {
    const line = String(text)
    stream.write(`${screen.colour ? line : line.replace(styles, "")}\n`)
  })

/** Prints without styles where nobody can show them, whoever made them. */
export const plainConsole = (console: Console.Console, screen: Screen): Console.Console => ({
  ...console,
  log: write(process.stdout, screen),
  error: write(process.stderr, screen)
})
