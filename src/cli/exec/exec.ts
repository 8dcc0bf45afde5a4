import { spawn } from "node:child_process"
import * as path from "node:path"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Step from "../../durable/Step.js"
import * as Workflow from "../../durable/Workflow.js"
import * as FileTransaction from "../../files/FileTransaction.js"
import * as Lock from "../../lock/Lock.js"
import * as Insights from "../../operate/Insights.js"
import * as Decision from "../../resilience/Decision.js"
import * as Events from "../../resilience/Events.js"
import * as Strategy from "../../resilience/Strategy.js"
import * as Storage from "../../storage/Storage.js"
import * as SqliteStorage from "../../storage/sqlite/SqliteStorage.js"
import { Ended, ended, receivedSignal } from "../exit.js"

export interface Options {
  readonly command: readonly [name: string, ...args: ReadonlyArray<string>]
  /** The database file. */
  readonly filename: string
  /** The name on record; a command without one gets a random id. */
  readonly task: string | undefined
  /** What to do if the task is already completed. */
  readonly again: "skip" | "refuse" | "run"
  readonly retries: number
  readonly delay: Duration.Duration
  /** The time limit of each attempt. */
  readonly timeout: Duration.Duration | undefined
  /** The exit codes to retry on; empty for all. */
  readonly retryOn: ReadonlyArray<number>
  /** Files to restore if the command fails after all retries. */
  readonly backup: ReadonlyArray<string>
  readonly lock: string | undefined
  readonly lockTimeout: Duration.Duration
}

/** As in shells: 124 for a timeout, 126 and 127 for a command that cannot run, 128 and more for a signal. */
class CommandFailed extends Schema.TaggedError<CommandFailed>("effect-recovery/CommandFailed")("CommandFailed", {
  command: Schema.String,
  code: Schema.Number
}) {
  override get message(): string {
    return `${this.command} ended with exit code ${this.code}`
  }
}

const signalNumbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 }

/** Milliseconds from the first signal until SIGKILL. */
const gracePeriod = 5_000

/** Runs the command with this program's input and output. Interruption forwards the received signal to it. */
const runCommand = ({ command: [name, ...args], timeout }: Options): Effect.Effect<void, CommandFailed> => {
  const failed = (code: number) => new CommandFailed({ command: name, code })
  const running = Effect.async<void, CommandFailed>((resume) => {
    const child = spawn(name, args, { stdio: "inherit" })
    const exited = new Promise<void>((resolve) => {
      child.once("error", (error) => {
        resume(Effect.fail(failed("code" in error && error.code === "ENOENT" ? 127 : 126)))
        resolve()
      })
      child.once("exit", (code, signal) => {
        const result = code ?? 128 + (signalNumbers[signal ?? ""] ?? 0)
        resume(result === 0 ? Effect.void : Effect.fail(failed(result)))
        resolve()
      })
    })
    return Effect.promise(() => {
      child.kill(receivedSignal() ?? "SIGTERM")
      const kill = setTimeout(() => child.kill("SIGKILL"), gracePeriod)
      return exited.finally(() => clearTimeout(kill))
    })
  })
  return timeout === undefined
    ? running
    : Effect.timeoutFail(running, { duration: timeout, onTimeout: () => failed(124) })
}

const print = (text: string) => Console.error(`recovery: ${text}`)

const retryStrategy = ({ delay, retries, retryOn }: Options) =>
  Strategy.make("retry", ({ attempt, error }: Strategy.Failure<CommandFailed>) => {
    const isRetryable = retryOn.length === 0 || retryOn.includes(error.code)
    if (attempt > retries || !isRetryable) return Effect.succeed(Decision.abort)
    const next = `attempt ${attempt + 1} of ${retries + 1} in ${Duration.format(delay)}`
    return Effect.as(print(`${error.message}; ${next}`), Decision.again(delay))
  })

const workflowOf = (options: Options) => {
  const command = Step.make("command", {
    error: CommandFailed,
    run: Effect.suspend(() => runCommand(options)),
    recover: { CommandFailed: retryStrategy(options) }
  })
  const fields = { input: Schema.Struct({ command: Schema.Array(Schema.String) }), error: CommandFailed }
  return Workflow.make("exec", fields, () => command)
}

/** Executes or resumes the run. A completed one is rewound only with `again: "run"`, a failed one always. */
const execute = (workflow: ReturnType<typeof workflowOf>, options: Options, id: string) =>
  Effect.gen(function* () {
    const { again, command, task } = options
    const storage = yield* Storage.Storage
    const outcome = Option.flatMapNullable(yield* storage.find(id), ({ outcome }) => outcome)
    if (Option.isSome(outcome)) {
      const isCompleted = outcome.value.status === "completed"
      if (isCompleted && again === "refuse") {
        return yield* ended("Refused", `Task "${task}" is already completed. With --again run it is run again.`)
      }
      if (isCompleted && again === "skip") return yield* print(`task "${task}" is already completed`)
      yield* Workflow.rewind(workflow, id, Workflow.fromStart)
    }
    const labels: Record<string, string> = task === undefined ? {} : { task }
    yield* Workflow.execute(workflow, { id, input: { command }, labels })
  })

/** The deepest folder that contains all files. */
const commonFolder = (files: ReadonlyArray<string>): string =>
  files
    .map((file) => path.dirname(file))
    .reduce((root, folder) => {
      let common = root
      while (folder !== common && !folder.startsWith(common.endsWith(path.sep) ? common : common + path.sep)) {
        common = path.dirname(common)
      }
      return common
    })

/** Restores the files if `self` fails. If an earlier process was killed, its files are restored first. */
const withBackup = <E, R>(
  self: Effect.Effect<void, E, R>,
  backup: ReadonlyArray<string>,
  timeout: Duration.Duration
) => {
  const files = backup.map((file) => path.resolve(file))
  const root = commonFolder(files)
  return Effect.zipRight(
    Effect.forEach(files, (file) => FileTransaction.protect(path.relative(root, file)), { discard: true }),
    self
  ).pipe(FileTransaction.run(root, { timeout }))
}

/** Runs a command as a workflow, with retries, a lock and files that are restored if it fails. */
export const exec = (options: Options) => {
  const { backup, filename, lock, lockTimeout, task } = options
  const program = Effect.gen(function* () {
    const id = task === undefined ? `exec-${yield* Random.nextIntBetween(0, 2 ** 48)}` : `exec/${task}`
    const executed = execute(workflowOf(options), options, id)
    const guarded = backup.length === 0 ? executed : withBackup(executed, backup, lockTimeout)
    const name = lock ?? task
    yield* name === undefined ? guarded : Lock.withLock(guarded, { kind: "exec", id: name }, { timeout: lockTimeout })
  })
  const layer = Layer.merge(Layer.provide(Insights.layer, Events.layerDebug), Lock.layerStorage()).pipe(
    Layer.provideMerge(SqliteStorage.layer({ filename })),
    // Standard output belongs to the command.
    Layer.provideMerge(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger)))
  )
  return program.pipe(Effect.provide(layer), Effect.mapError(toEnded(options)))
}

/** Words errors of runs and locks in terms of tasks and options. */
const toEnded =
  ({ task }: Options) =>
  (
    error: Effect.Effect.Error<ReturnType<typeof execute>> | { readonly _tag: string; readonly message: string }
  ): Ended => {
    if (error instanceof Ended) return error
    if (error instanceof CommandFailed) return new Ended({ code: error.code, tag: error._tag, message: error.message })
    const { _tag: tag, message } = error
    switch (tag) {
      case "RunMismatch":
        return ended(
          "Refused",
          `Task "${task}" is on record with another command. Use another --task for this one.`,
          tag
        )
      case "LeaseHeld":
        return ended("Refused", `Task "${task}" is running in another process. Wait until it ends.`, tag)
      case "LockTimeout":
        return ended("Refused", `${message} The timeout is the option --lock-timeout.`, tag)
      default:
        return ended(tag === "StorageError" ? "Storage" : "Failed", message, tag)
    }
  }
