import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { Call, Calls } from "../system/calls.js"
import { writeAll } from "../system/write.js"

/** Appends a line, and answers with how long the file is then. */
export const append = (calls: Calls, file: string, line: string, mode: number): Call<number> =>
  Effect.flatMap(calls.open(file, "a+", mode), (opened) =>
    Effect.ensuring(
      Effect.suspend(() => {
        const { size } = fs.fstatSync(opened)
        const bytes = Buffer.from(endsInLine(opened, size) ? line : `\n${line}`)
        // One call, so that the lines of several processes do not mix, unless a full disk cuts it off.
        return Effect.as(writeAll(calls, opened, bytes), size + bytes.length)
      }),
      Effect.ignore(calls.close(opened))
    )
  )

const endsInLine = (file: number, size: number): boolean => {
  if (size === 0) return true
  const last = Buffer.alloc(1)
  fs.readSync(file, last, 0, 1, size - 1)
  return last[0] === newline
}

const newline = 10

/** Sets the log aside and removes the oldest of those that were. Another process may have done it before. */
export const rotate = (calls: Calls, file: string, now: number, keep: number): Call<void> =>
  Effect.gen(function* () {
    const name = path.basename(file)
    const stamp = new Date(now).toISOString().replaceAll(/[:.]/g, "-")
    yield* whereGone(calls.rename(file, `${file}.${stamp}-${process.pid}`))
    const aside = (yield* calls.readdir(path.dirname(file))).filter((one) => isAside(one, name)).sort()
    for (const old of aside.slice(0, Math.max(0, aside.length - keep))) {
      yield* whereGone(calls.unlink(path.join(path.dirname(file), old)))
    }
  })

const isAside = (one: string, name: string): boolean =>
  one.startsWith(`${name}.`) && /^\d{4}-\d\d-\d\dT[\d-]+Z-\d+$/.test(one.slice(name.length + 1))

const whereGone = (call: Call<void>): Call<void> =>
  Effect.catchAll(call, (error) => (error.code === "ENOENT" ? Effect.void : Effect.fail(error)))
