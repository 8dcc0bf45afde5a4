/** The processes of the runners. */
import * as childProcess from "node:child_process"
import * as net from "node:net"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { Effect, Option, type Queue, Schema } from "effect"
import { dim, note } from "./screen.js"

export interface Runner {
  readonly name: string
  readonly pid: number
  readonly isGone: () => boolean
  /** Ends the process with the signal, and returns its exit code; undefined if the signal ended it. */
  readonly end: (signal: "SIGKILL" | "SIGTERM") => Effect.Effect<number | undefined>
}

/** A runner that continues a run of another one. */
export interface Resumed {
  readonly runner: Runner
  readonly run: string
  readonly at: number
}

const runnerFile = fileURLToPath(new URL("./runner.js", import.meta.url))

const Line = Schema.parseJson(Schema.Struct({ event: Schema.String, run: Schema.optional(Schema.String) }))

const freePort = Effect.async<number>((resume) => {
  const server = net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** Starts a runner in a process of its own, which is killed with the scope if it still runs. */
export const startRunner = (number: number, resumed: Queue.Enqueue<Resumed>) =>
  Effect.acquireRelease(
    Effect.map(freePort, (port): Runner => {
      const child = childProcess.spawn(process.execPath, ["--no-deprecation", runnerFile, `${port}`], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      const closed = new Promise<number | undefined>((resolve) =>
        child.on("close", (code) => resolve(code ?? undefined))
      )
      let isGone = false
      child.on("close", () => {
        isGone = true
      })
      const runner: Runner = {
        name: `runner ${number}`,
        pid: child.pid ?? 0,
        isGone: () => isGone,
        end: (signal) =>
          Effect.promise(() => {
            child.kill(signal)
            return closed
          })
      }
      readline.createInterface({ input: child.stdout }).on("line", (line) => {
        const found = Option.getOrUndefined(Schema.decodeOption(Line)(line))
        if (found === undefined) return note(dim(`${runner.name}: ${line}`))
        const { event, run } = found
        if (event === "RunResumed" && run !== undefined) resumed.unsafeOffer({ runner, run, at: Date.now() })
      })
      note(`${runner.name} is process ${runner.pid}, port ${port}`)
      return runner
    }),
    (runner) => (runner.isGone() ? Effect.void : runner.end("SIGKILL"))
  )
