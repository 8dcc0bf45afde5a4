import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { common, createFolder, databaseFile } from "../ask.js"
import type { Ended } from "../exit.js"
import { choiceOrFirst, duration, integer, optional, text, textOr, usage } from "../options.js"
import { absolute } from "../paths.js"
import { about } from "../render/overview.js"

/** The arguments of `recovery` itself, and those after `--`: the command to run. */
export class CommandArguments extends Context.Reference<CommandArguments>()("effect-recovery/cli/CommandArguments", {
  defaultValue: (): { readonly own: ReadonlyArray<string>; readonly rest: ReadonlyArray<string> } => ({
    own: [],
    rest: []
  })
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

/** Refuses what is no name. */
const nonEmpty = (option: string, given: string | undefined): Effect.Effect<void, Ended> => {
  if (given === undefined) return Effect.void
  if (given.trim() === "") return usage(`${option} is empty. Give it a value, or leave it out.`)
  return given.length > maxLength ? usage(`${option} has more than ${maxLength} characters.`) : Effect.void
}

const maxLength = 4_000

export const execCommand = Command.make(
  "exec",
  {
    database: common.database,
    task: optional("task", "A name on record; a completed task is not run again, a failed one with any command"),
    again: choiceOrFirst("again", ["skip", "refuse", "run"], "What to do if the task is already completed"),
    retries: integer("retries", "How many times to retry after the first attempt", 3),
    delay: textOr("delay", "The delay before each retry", "2s"),
    timeout: optional("timeout", "The time limit of each attempt. Default: none"),
    killAfter: textOr("kill-after", "How long a command that is ended has until SIGKILL", "10s"),
    retryOn: text("retry-on", "The exit codes to retry on, such as 1,75. Default: all but 126 and 127").pipe(
      Options.withDefault("")
    ),
    backup: text("backup", "A file to restore if the command fails after all retries").pipe(Options.repeated),
    lock: optional("lock", "The name of a lock that one process holds at a time. Default: the task"),
    lockTimeout: textOr("lock-timeout", "How long to wait for locks, and for processes of a killed exec", "30s")
  },
  ({ again, backup, lock, retries, task, timeout, ...given }) =>
    Effect.gen(function* () {
      const { own, rest } = yield* CommandArguments
      const [name, ...args] = rest
      if (name === undefined) return yield* usage("exec needs a command: recovery exec [options] -- COMMAND ARGS…")
      yield* nonEmpty("--task", task)
      yield* nonEmpty("--lock", lock)
      // The parser drops empty values of options that may be repeated.
      for (const [i, option] of own.entries()) if (option === "--backup") yield* nonEmpty(option, own[i + 1] ?? "")
      const { exec } = yield* Effect.promise(() => import("./exec.js"))
      yield* exec({
        command: [name, ...args],
        filename: yield* Effect.flatMap(databaseFile(given.database), createFolder),
        task,
        again,
        retries,
        delay: yield* duration("--delay", given.delay),
        timeout: timeout === undefined ? undefined : yield* duration("--timeout", timeout, 1),
        killAfter: yield* duration("--kill-after", given.killAfter),
        retryOn: yield* exitCodesOf(given.retryOn),
        backup: yield* Effect.forEach(backup, absolute),
        lock,
        lockTimeout: yield* duration("--lock-timeout", given.lockTimeout)
      })
    })
).pipe(Command.withDescription(about.exec))
