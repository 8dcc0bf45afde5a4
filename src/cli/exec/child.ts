import { spawn } from "node:child_process"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { received } from "../signals.js"

/** As shells have it: 124 for one that took too long, 126 and 127 for one that cannot be run, 128 and more for a signal. */
export class CommandFailed extends Schema.TaggedError<CommandFailed>("effect-recovery/CommandFailed")("CommandFailed", {
  command: Schema.String,
  code: Schema.Number
}) {
  override get message(): string {
    return `${this.command} has ended with exit code ${this.code}`
  }
}

export interface Run {
  readonly command: readonly [name: string, ...args: ReadonlyArray<string>]
  readonly timeout: Duration.Duration | undefined
}

const numbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 }

/** How long a program has to end after it was asked to. */
const grace = 5_000

/** What is printed goes straight to where this program prints; a signal it gets is passed on. */
export const runCommand = ({ command: [name, ...args], timeout }: Run): Effect.Effect<void, CommandFailed> => {
  const failed = (code: number) => new CommandFailed({ command: name, code })
  const running = Effect.async<void, CommandFailed>((resume) => {
    const child = spawn(name, args, { stdio: "inherit" })
    const ended = new Promise<void>((resolve) => {
      child.once("error", (error) => {
        resume(Effect.fail(failed("code" in error && error.code === "ENOENT" ? 127 : 126)))
        resolve()
      })
      child.once("exit", (code, signal) => {
        const result = code ?? 128 + (numbers[signal ?? ""] ?? 0)
        resume(result === 0 ? Effect.void : Effect.fail(failed(result)))
        resolve()
      })
    })
    return Effect.promise(() => {
      child.kill(received() ?? "SIGTERM")
      const kill = setTimeout(() => child.kill("SIGKILL"), grace)
      return ended.finally(() => clearTimeout(kill))
    })
  })
  return timeout === undefined
    ? running
    : Effect.timeoutFail(running, { duration: timeout, onTimeout: () => failed(124) })
}
