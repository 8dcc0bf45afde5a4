/** `npm run example NAME`: runs an example of the gallery and shows what it prints. Without a name it lists them. */
import { inspect } from "node:util"
import { Effect, Logger, LogLevel } from "effect"
import { gallery } from "./gallery.js"

const [name] = process.argv.slice(2)
const example = name === undefined ? undefined : gallery[name]

if (name === undefined || example === undefined) {
  const width = Math.max(...Object.keys(gallery).map((name) => name.length))
  for (const [name, { purpose }] of Object.entries(gallery)) console.log(`${name.padEnd(width)}  ${purpose}`)
  if (name !== undefined) {
    console.error(`\nThere is no example "${name}". Run npm run example NAME with one of these names.`)
    process.exitCode = 1
  }
} else {
  console.log(`${example.purpose}.\n`)
  if (example.load === undefined) await import(`./${name}.js`)
  else {
    const { program } = await example.load()
    // Workers log what they work on when they start; the gallery shows the result.
    const result = await Effect.runPromise(Logger.withMinimumLogLevel(program, LogLevel.Warning))
    console.log(typeof result === "string" ? result : inspect(result, { depth: null }))
  }
}
