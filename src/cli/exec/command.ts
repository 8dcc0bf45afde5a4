import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { common, databaseOf } from "../ask.js"
import type { Ended } from "../exit.js"
import { choiceOrFirst, duration, integer, optional, text, usage } from "../options.js"
import { about } from "../render/overview.js"

/** The arguments after `--`: the command to run. */
export class CommandArguments extends Context.Reference<CommandArguments>()("effect-recovery/cli/CommandArguments", {
  defaultValue: (): ReadonlyArray<string> => []
}) {}

const exitCodesOf = (given: string): Effect.Effect<ReadonlyArray<number>, Ended> => {
  const all = given
    .split(",")
    .filter((one) => one.trim() !== "")
    .map(Number)
  return all.every((code) => Number.isInteger(code) && code > 0 && code < 256)
    ? Effect.succeed(all)
    : usage(`--retry-on must be exit codes such as 1,75, not "${given}".`)
}

export const execCommand = Command.make(
  "exec",
  {
    database: common.database,
    task: optional("task", "A name for the command on record; a task that is completed is not run again"),
    again: choiceOrFirst("again", ["skip", "refuse", "run"], "What to do if the task is already completed"),
    retries: integer("retries", "How many times to retry after the first attempt", 3),
    delay: text("delay", "The delay before each retry").pipe(Options.withDefault("2s")),
    timeout: optional("timeout", "The time limit of each attempt. Default: none"),
    retryOn: text("retry-on", "The exit codes to retry on, such as 1,75. Default: all").pipe(Options.withDefault("")),
    backup: text("backup", "A file to restore if the command fails after all retries").pipe(Options.repeated),
    lock: optional("lock", "The name of a lock that one process holds at a time. Default: the task"),
    lockTimeout: text("lock-timeout", "How long to wait for the lock").pipe(Options.withDefault("30s"))
  },
  ({ again, backup, lock, retries, task, timeout, ...given }) =>
    Effect.gen(function* () {
      const [name, ...args] = yield* CommandArguments
      if (name === undefined) return yield* usage("exec needs a command: recovery exec [options] -- COMMAND ARGS…")
      if (retries < 0) return yield* usage("--retries must be at least 0.")
      const { exec } = yield* Effect.promise(() => import("./exec.js"))
      yield* exec({
        command: [name, ...args],
        filename: yield* databaseOf(given.database),
        task,
        again,
        retries,
        delay: yield* duration("--delay", given.delay),
        timeout: timeout === undefined ? undefined : yield* duration("--timeout", timeout, 1),
        retryOn: yield* exitCodesOf(given.retryOn),
        backup,
        lock,
        lockTimeout: yield* duration("--lock-timeout", given.lockTimeout)
      })
    })
).pipe(Command.withDescription(about.exec))
