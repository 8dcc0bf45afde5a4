import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { Ended, exitCodes } from "./exit.js"

/** Of a log only the end is kept, so no more is read, however long it is. */
const longest = 64 * 1024

const refuse = (name: string) => (cause: unknown) =>
  new Ended({
    code: exitCodes.Usage,
    tag: "Usage",
    message: `The log ${name} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`
  })

export const readLog = (name: string | undefined): Effect.Effect<string | undefined, Ended> => {
  if (name === undefined) return Effect.succeed(undefined)
  return name === "-"
    ? Effect.tryPromise({ try: () => endOf(process.stdin), catch: refuse("from standard input") })
    : Effect.try({ try: () => endOfFile(name), catch: refuse(name) })
}

const endOf = async (stream: NodeJS.ReadableStream): Promise<string> => {
  let end = Buffer.alloc(0)
  for await (const chunk of stream) end = Buffer.concat([end, Buffer.from(chunk)]).subarray(-longest)
  return end.toString("utf8")
}

const endOfFile = (name: string): string => {
  const file = fs.openSync(name, "r")
  try {
    const { size } = fs.fstatSync(file)
    const bytes = Buffer.alloc(Math.min(size, longest))
    const read = fs.readSync(file, bytes, 0, bytes.length, size - bytes.length)
    return bytes.subarray(0, read).toString("utf8")
  } finally {
    fs.closeSync(file)
  }
}
