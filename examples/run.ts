/** `npm run example NAME`: runs an example of the gallery and shows what it prints. Without a name it lists them. */
import { inspect } from "node:util"
import { Effect } from "effect"
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
    const result = await Effect.runPromise((await example.load()).program)
    console.log(typeof result === "string" ? result : inspect(result, { depth: null }))
  }
}
