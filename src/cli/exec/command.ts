import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { common } from "../ask.js"
import { databaseOf } from "../config.js"
import { Ended, exitCodes } from "../exit.js"

/** What stands behind `--`. */
export class Rest extends Context.Reference<Rest>()("effect-recovery/cli/Rest", {
  defaultValue: (): ReadonlyArray<string> => []
}) {}

const usage = (message: string) => new Ended({ code: exitCodes.Usage, tag: "Usage", message })

const text = (name: string, description: string) => Options.text(name).pipe(Options.withDescription(description))

const duration = (name: string, given: string): Effect.Effect<Duration.Duration, Ended> => {
  // `2s` and `500ms` are what people write.
  const spelled = given.replace(
    /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/,
    (_, n: string, unit: string) => `${n} ${units[unit]}`
  )
  const decoded = Duration.decodeUnknown(spelled)
  return Option.isSome(decoded) && Duration.toMillis(decoded.value) >= 0
    ? Effect.succeed(decoded.value)
    : Effect.fail(usage(`--${name} must be a duration such as 2s, not "${given}".`))
}

const units: Readonly<Record<string, string>> = {
  ms: "millis",
  s: "seconds",
  m: "minutes",
  h: "hours",
  d: "days"
}

const codes = (given: string): Effect.Effect<ReadonlyArray<number>, Ended> => {
  const all = given
    .split(",")
    .filter((one) => one.trim() !== "")
    .map(Number)
  return all.every((code) => Number.isInteger(code) && code > 0 && code < 256)
    ? Effect.succeed(all)
    : Effect.fail(usage(`--retry-on must be exit codes such as 1,75, not "${given}".`))
}

export const execCommand = Command.make(
  "exec",
  {
    database: common.database,
    task: text("task", "Under which it is on record: a task that was completed is not done again").pipe(
      Options.optional
    ),
    again: Options.choice("again", ["skip", "refuse", "run"] as const).pipe(
      Options.withDescription("What to do with a task that was completed before"),
      Options.withDefault("skip" as const)
    ),
    retries: Options.integer("retries").pipe(
      Options.withDescription("How often it is tried again"),
      Options.withDefault(3)
    ),
    delay: text("delay", "How long to wait before it is tried again").pipe(Options.withDefault("2s")),
    timeout: text("timeout", "How long one attempt may take").pipe(Options.optional),
    retryOn: text("retry-on", "Exit codes worth another try, such as 1,75; else all of them").pipe(
      Options.withDefault("")
    ),
    backup: text("backup", "A file that is to be as it was if it fails in the end").pipe(Options.repeated),
    lock: text("lock", "A name that only one holds at a time; else that of the task").pipe(Options.optional),
    lockTimeout: text("lock-timeout", "How long to wait for it").pipe(Options.withDefault("30s"))
  },
  (given) =>
    Effect.gen(function* () {
      const [name, ...args] = yield* Rest
      if (name === undefined) return yield* usage("exec needs a command: recovery exec [options] -- COMMAND ARGS…")
      if (given.retries < 0) return yield* usage("--retries must not be less than 0.")
      const timeout = Option.getOrUndefined(given.timeout)
      const { exec } = yield* Effect.promise(() => import("./exec.js"))
      yield* exec({
        command: [name, ...args],
        filename: yield* databaseOf(given.database),
        task: Option.getOrUndefined(given.task),
        again: given.again,
        retries: given.retries,
        delay: yield* duration("delay", given.delay),
        timeout: timeout === undefined ? undefined : yield* duration("timeout", timeout),
        retryOn: yield* codes(given.retryOn),
        backup: given.backup,
        lock: Option.getOrUndefined(given.lock),
        lockTimeout: yield* duration("lock-timeout", given.lockTimeout)
      })
    })
).pipe(
  Command.withDescription("Run a command with retries, a lock, and files that return to their state when it fails")
)
