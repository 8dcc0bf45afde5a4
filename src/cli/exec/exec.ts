import * as fs from "node:fs"
import * as path from "node:path"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Step from "../../durable/Step.js"
import * as Workflow from "../../durable/Workflow.js"
import { FileError, type FileReason } from "../../files/FileError.js"
import * as FileTransaction from "../../files/FileTransaction.js"
import * as Lock from "../../lock/Lock.js"
import * as Insights from "../../operate/Insights.js"
import * as Decision from "../../resilience/Decision.js"
import * as Events from "../../resilience/Events.js"
import { redactArguments } from "../../resilience/Redaction.js"
import * as Strategy from "../../resilience/Strategy.js"
import * as SqliteStorage from "../../storage/sqlite/SqliteStorage.js"
import { Ended, ended } from "../exit.js"
import { receive } from "../signals.js"
import { type Ending, Group } from "./group.js"
import { announce, awaitOrphans, type Backup, type Guard, type Holdings, type Leftover } from "./guard.js"
import * as Plan from "./plan.js"

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
  /** From the first signal that ends the command until SIGKILL. */
  readonly killAfter: Duration.Duration
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
  code: Schema.Number,
  /** What happened, in words. */
  what: Schema.String
}) {
  override get message(): string {
    return `${this.command} ${this.what}`
  }
}

/** A shell answers with these, too. Trying again finds the same file. */
const isFinal = (code: number): boolean => code === 126 || code === 127

const failureOf = (command: string, ending: Ending): CommandFailed => {
  switch (ending._tag) {
    case "Exited":
      return new CommandFailed({ command, code: ending.code, what: `ended with exit code ${ending.code}` })
    case "Signalled":
      return new CommandFailed({ command, code: ending.code, what: `was ended by ${ending.signal}` })
    case "NotStarted":
      return ending.error.code === "ENOENT"
        ? new CommandFailed({ command, code: 127, what: "was not found" })
        : new CommandFailed({
            command,
            code: 126,
            what: `cannot be executed (${ending.error.code ?? ending.error.message})`
          })
  }
}

/**
 * Runs the command in a process group of its own. If it fails, takes too long or
 * is interrupted, no process of the group is left afterwards.
 */
const runCommand = ({ command, killAfter, timeout }: Options, guard: Guard | undefined) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const group = new Group(command, { killAfter: Duration.toMillis(killAfter), inherited: guard?.descriptor })
      if (group.id !== undefined) guard?.started(group.id)
      return { group, stopReceiving: group.receive() }
    }),
    ({ group }) => {
      const ended = Effect.flatMap(
        Effect.promise(() => group.ended),
        (ending) =>
          ending._tag === "Exited" && ending.code === 0 ? Effect.void : Effect.fail(failureOf(command[0], ending))
      )
      if (timeout === undefined) return ended
      const what = `did not end within ${Duration.format(timeout)}`
      const onTimeout = () => new CommandFailed({ command: command[0], code: 124, what })
      return Effect.timeoutFail(ended, { duration: timeout, onTimeout })
    },
    // What a command leaves behind in the background after a success continues.
    ({ group, stopReceiving }, exit) =>
      (Exit.isSuccess(exit) ? Effect.void : Effect.promise(() => group.end())).pipe(
        Effect.ensuring(Effect.sync(stopReceiving))
      )
  )

const print = (text: string) => Console.error(`recovery: ${text}`)

const retryStrategy = ({ delay, retries, retryOn }: Options) =>
  Strategy.make("retry", ({ attempt, error }: Strategy.Failure<CommandFailed>) => {
    const isRetryable = retryOn.length === 0 ? !isFinal(error.code) : retryOn.includes(error.code)
    if (!isRetryable) return Effect.succeed(Decision.abort)
    if (attempt > retries) return Effect.succeed(Decision.surface)
    const next = `attempt ${attempt + 1} of ${retries + 1} in ${Duration.format(delay)}`
    return Effect.as(print(`${error.message}; ${next}`), Decision.again(delay))
  })

const workflowOf = (options: Options, guard: Guard | undefined) => {
  const commandLine = Step.make(Plan.recorded, {
    success: Plan.Arguments,
    run: Effect.sync(() => redactArguments(options.command))
  })
  const command = Step.make(Plan.command, {
    error: CommandFailed,
    run: runCommand(options, guard),
    recover: { CommandFailed: retryStrategy(options) }
  })
  return Workflow.make("exec", { error: CommandFailed }, () => Effect.zipRight(commandLine, command))
}

/** Where the file is, or would be, behind symbolic links. */
const realPath = (file: string): string => {
  const at = path.resolve(file)
  try {
    return fs.realpathSync(at)
  } catch {
    return path.dirname(at) === at ? at : path.join(realPath(path.dirname(at)), path.basename(at))
  }
}

/** The deepest folder that contains both. */
const commonFolder = (a: string, b: string): string => {
  let common = a
  while (common !== b && !b.startsWith(common.endsWith(path.sep) ? common : common + path.sep)) {
    common = path.dirname(common)
  }
  return common
}

/**
 * Each file with the folder that its old content is kept in. A symbolic link is
 * kept beside what it leads to, and a file inside of another one with that one.
 */
const backupsOf = (files: ReadonlyArray<string>): ReadonlyArray<Backup> => {
  const places = [...new Set(files.map(placeOf))].sort()
  return places
    .filter((at) => !places.some((other) => at.startsWith(other + path.sep)))
    .map((at) => {
      const root = commonFolder(path.dirname(at), path.dirname(realPath(at)))
      return { root, name: path.relative(root, at) }
    })
}

/** Where the file itself is, which may be a symbolic link. */
const placeOf = (file: string): string => {
  const at = path.resolve(file)
  return path.join(realPath(path.dirname(at)), path.basename(at))
}

interface Failing {
  readonly _tag: string
  readonly message: string
}

/** Words a lock that another process holds: what it holds, and how long this one waited. */
const heldBy = (
  { _tag, status: { owner, since } }: Lock.LockTimeout,
  what: string,
  timeout: Duration.Duration
): Ended => {
  const [, pid] = /\/(\d+)@/.exec(owner ?? "") ?? []
  const by = owner === undefined ? "other starts, which wait before this one" : `process ${pid ?? owner}`
  const at = since === undefined ? "" : ` since ${new Date(since).toISOString()}`
  const limit = `for longer than ${Duration.format(timeout)} (--lock-timeout)`
  return ended("Refused", `${what} ${by}${at}, ${limit}. Nothing was changed.`, _tag)
}

/**
 * Restores the files if `self` fails. Each has a transaction of its own, so that
 * commands whose files lie in one folder do not wait for each other.
 */
const withBackup = <R>(
  self: Effect.Effect<void, Failing, R>,
  [first, ...rest]: ReadonlyArray<Backup>,
  timeout: Duration.Duration
): Effect.Effect<void, Failing, R | Lock.Lock> => {
  if (first === undefined) return self
  const { name, root } = first
  const held = (error: Failing) =>
    error instanceof Lock.LockTimeout ? heldBy(error, `${path.join(root, name)} is changed by`, timeout) : error
  const inner = Effect.zipRight(FileTransaction.protect(name), withBackup(self, rest, timeout))
  // Excluding a service that is not in R changes nothing; TypeScript does not simplify the type.
  return Effect.mapError(FileTransaction.run(inner, root, { name, timeout }), held) as Effect.Effect<
    void,
    Failing,
    R | Lock.Lock
  >
}

/**
 * Ends what a killed exec has left: its files stay as they are if its command has
 * succeeded, and are restored otherwise.
 */
const settle = ({ backups, run }: Leftover, timeout: Duration.Duration) =>
  Effect.gen(function* () {
    const commit = yield* Plan.hasSucceeded(run)
    for (const { name, root } of backups) yield* FileTransaction.recover(root, { commit, name, timeout })
  })

/** Runs `self` while it holds the lock of a task, or one that a user has named. */
const withLock = <E, R>(self: Effect.Effect<void, E, R>, id: string | undefined, { lockTimeout, task }: Options) => {
  if (id === undefined) return self
  const what = id === task ? `Task "${task}" is run by` : `Lock "${id}" is held by`
  return Effect.catchIf(
    Lock.withLock(self, { kind: "exec", id }, { timeout: lockTimeout }),
    (error) => error instanceof Lock.LockTimeout,
    (error) => heldBy(error, what, lockTimeout)
  )
}

/** Waits for processes of an exec that was killed. A start beside them would run the task twice at once. */
const orphansEnded = (held: Holdings, { filename, lockTimeout }: Options) =>
  awaitOrphans(realPath(filename), held, {
    timeout: lockTimeout,
    settle: (leftover) => settle(leftover, lockTimeout),
    onWait: ({ shared }) => print(`waiting for processes of an earlier start that hold ${shared}`)
  }).pipe(
    Effect.catchIf(
      (error) => error instanceof Lock.LockTimeout,
      (error) => heldBy(error, "The files of a killed exec are restored by", lockTimeout)
    ),
    Effect.flatMap(
      Option.match({
        onNone: () => Effect.void,
        onSome: ({ kill, shared }) =>
          ended(
            "Refused",
            [
              `The exec that held ${shared} was killed, and processes of its command still run.`,
              `They did not end within ${Duration.format(lockTimeout)} (--lock-timeout). Nothing was changed.`,
              kill === "" ? "End them, then start again." : `End them with "${kill}", then start again.`
            ].join(" "),
            "Orphan"
          )
      })
    )
  )

/** The plan, once nothing of an earlier start is left. */
const ready = (options: Options, id: string, holdings: Holdings) =>
  Effect.zipRight(orphansEnded(holdings, options), Plan.planOf(options, id, redactArguments(options.command))).pipe(
    Effect.tap((plan) => (plan === "skip" ? print(`task "${options.task}" is already completed`) : Effect.void))
  )

/** A third signal cannot end the restoring sooner, so it is answered. */
const answerImpatience = ({ backup }: Options) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      receive((_, ending) => {
        if (ending < 3) return
        const what =
          backup.length === 0 ? "ending the command" : `ending the command and restoring ${backup.join(", ")}`
        process.stderr.write(`recovery: ${what}; this program ends when it is done\n`)
      })
    ),
    (stop) => Effect.sync(stop)
  )

/** Does what the plan says. The caller holds the locks. */
const start = (plan: Plan.Plan, options: Options, id: string, holdings: Holdings) =>
  Effect.gen(function* () {
    const { backup, filename, lockTimeout, task } = options
    yield* answerImpatience(options)
    const backups = backupsOf(backup)
    const isHolding = holdings.names.length > 0 || holdings.files.length > 0
    const workflow = workflowOf(
      options,
      isHolding ? yield* announce(realPath(filename), holdings, { run: id, backups }) : undefined
    )
    if (plan === "restart") yield* Workflow.rewind(workflow, id, Workflow.fromStart)
    const executed = Workflow.execute(workflow, { id, labels: task === undefined ? {} : { task } })
    yield* withBackup(executed, backups, lockTimeout)
  }).pipe(Effect.scoped)

/** Runs a command as a workflow, with retries, a lock and files that are restored if it fails. */
export const exec = (options: Options) => {
  const { backup, filename, lock, task } = options
  const program = Effect.gen(function* () {
    const id = task === undefined ? `exec-${yield* Random.nextIntBetween(0, 2 ** 48)}` : `exec/${task}`
    // In an order that all starts share, so that two of them cannot wait for each other.
    const names = [...new Set([task, lock])].filter((name) => name !== undefined).sort()
    const holdings: Holdings = { names, files: backup.map(realPath) }
    // Before the locks are acquired, since a refusal changes nothing.
    if ((yield* ready(options, id, holdings)) === "skip") return
    // Another start may have changed the record during the wait for the locks.
    const started = Effect.flatMap(ready(options, id, holdings), (plan) =>
      plan === "skip" ? Effect.void : start(plan, options, id, holdings)
    )
    yield* withLock(withLock(started, names[1], options), names[0], options)
  })
  const layer = Layer.merge(Layer.provide(Insights.layer, Events.layerDebug), Lock.layerStorage()).pipe(
    Layer.provideMerge(SqliteStorage.layer({ filename })),
    // Standard output belongs to the command.
    Layer.provideMerge(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger)))
  )
  return program.pipe(Effect.provide(layer), Effect.mapError(toEnded(options)))
}

/** What cannot be put back is refused before the command starts. The command has no root to choose. */
const unrestorable: Partial<Readonly<Record<FileReason, string>>> = {
  OtherDevice: "it is, or leads to, another file system than its folder. Give --backup the file that it leads to",
  Mounted: "it is a mount point, or holds one. Give --backup what is not mounted",
  Outside: "it is not in a folder of its own. Give --backup a file or folder below"
}

const fileMessage = (error: FileError): Ended => {
  const why = unrestorable[error.reason]
  return why === undefined
    ? ended("Failed", error.message, error._tag)
    : ended(
        "Refused",
        `${error.path} cannot be restored if the command fails: ${why}. Nothing was changed.`,
        error._tag
      )
}

/** Words errors of runs and locks in terms of tasks and options. */
const toEnded =
  (options: Options) =>
  (error: Failing): Ended => {
    if (error instanceof Ended) return error
    if (error instanceof CommandFailed) return new Ended({ code: error.code, tag: error._tag, message: error.message })
    const { _tag: tag, message } = error
    if (error instanceof FileError) return fileMessage(error)
    switch (tag) {
      case "LeaseHeld":
        return ended("Refused", `Task "${options.task}" is running in another process. Wait until it ends.`, tag)
      case "RunMismatch":
        return ended("Refused", `Task "${options.task}" is on record as other work. Use another --task.`, tag)
      default:
        return ended(tag === "StorageError" ? "Storage" : "Failed", message, tag)
    }
  }
