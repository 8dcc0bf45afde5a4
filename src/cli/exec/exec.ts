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
import { Ended, exitCodes } from "../exit.js"
import { CommandFailed, type Run, runCommand } from "./child.js"

export interface Options extends Run {
  readonly filename: string
  /** Under which it is on record; a name of its own, if it has none. */
  readonly task: string | undefined
  /** What to do with a task that was completed before. */
  readonly again: "skip" | "refuse" | "run"
  readonly retries: number
  readonly delay: Duration.Duration
  /** Exit codes that are worth another try; all of them, if there are none. */
  readonly retryOn: ReadonlyArray<number>
  /** Files that are to be as they were if it fails in the end. */
  readonly backup: ReadonlyArray<string>
  readonly lock: string | undefined
  readonly lockTimeout: Duration.Duration
}

const tell = (text: string) => Console.error(`recovery: ${text}`)

const retrying = ({ delay, retries, retryOn }: Options) =>
  Strategy.make("retry", ({ attempt, error }: Strategy.Failure<CommandFailed>) => {
    const isWorthIt = retryOn.length === 0 || retryOn.includes(error.code)
    if (attempt > retries || !isWorthIt) return Effect.succeed(Decision.abort)
    const next = `attempt ${attempt + 1} of ${retries + 1} in ${Duration.format(delay)}`
    return Effect.as(tell(`${error.message}; ${next}`), Decision.again(delay))
  })

const workflowFor = (options: Options) => {
  const command = Step.make("command", {
    error: CommandFailed,
    run: Effect.suspend(() => runCommand(options)),
    recover: { CommandFailed: retrying(options) }
  })
  const fields = { input: Schema.Struct({ command: Schema.Array(Schema.String) }), error: CommandFailed }
  return Workflow.make("exec", fields, () => command)
}

type Exec = ReturnType<typeof workflowFor>

const refused = (message: string) => new Ended({ code: exitCodes.Refused, tag: "Refused", message })

/** Executes it, or goes on with it; what was completed is not done again unless that is wanted. */
const execute = (exec: Exec, options: Options, id: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const outcome = Option.flatMapNullable(yield* storage.find(id), ({ outcome }) => outcome)
    if (Option.isSome(outcome)) {
      const isDone = outcome.value.status === "completed"
      if (isDone && options.again === "refuse") return yield* refused(`${options.task} was completed before.`)
      if (isDone && options.again === "skip") return yield* tell(`${options.task} was completed before`)
      yield* Workflow.rewind(exec, id, Workflow.fromStart)
    }
    const labels: Record<string, string> = options.task === undefined ? {} : { task: options.task }
    yield* Workflow.execute(exec, { id, input: { command: options.command }, labels })
  })

/** The folder that all of them are in. */
const rootOf = (files: ReadonlyArray<string>): string =>
  files
    .map((file) => path.dirname(file))
    .reduce((root, folder) => {
      let common = root
      while (folder !== common && !folder.startsWith(common.endsWith(path.sep) ? common : common + path.sep)) {
        common = path.dirname(common)
      }
      return common
    })

/** What a process that was killed has left is put back first, and then it begins anew. */
const keeping = <E, R>(self: Effect.Effect<void, E, R>, backup: ReadonlyArray<string>, timeout: Duration.Duration) => {
  const files = backup.map((file) => path.resolve(file))
  const root = rootOf(files)
  return Effect.zipRight(
    Effect.forEach(files, (file) => FileTransaction.protect(path.relative(root, file)), { discard: true }),
    self
  ).pipe(FileTransaction.run(root, { timeout }))
}

export const exec = (options: Options) => {
  const { backup, filename, lock, lockTimeout, task } = options
  const program = Effect.gen(function* () {
    const id = task === undefined ? `exec-${yield* Random.nextIntBetween(0, 2 ** 48)}` : `exec/${task}`
    const executed = execute(workflowFor(options), options, id)
    const kept = backup.length === 0 ? executed : keeping(executed, backup, lockTimeout)
    const name = lock ?? task
    yield* name === undefined ? kept : Lock.withLock(kept, { kind: "exec", id: name }, { timeout: lockTimeout })
  })
  const layer = Layer.merge(Layer.provide(Insights.layer, Events.layerDebug), Lock.layerStorage()).pipe(
    Layer.provideMerge(SqliteStorage.layer({ filename })),
    // What is printed is the command's.
    Layer.provideMerge(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger)))
  )
  return program.pipe(Effect.provide(layer), Effect.mapError(toEnded))
}

const toEnded = (error: { readonly _tag: string; readonly message: string } | Ended | CommandFailed): Ended => {
  if (error instanceof Ended) return error
  if (error instanceof CommandFailed) return new Ended({ code: error.code, tag: error._tag, message: error.message })
  const { _tag: tag, message } = error
  const isRefused = tag === "LockTimeout" || tag === "LeaseHeld" || tag === "RunMismatch"
  const code = isRefused ? exitCodes.Refused : tag === "StorageError" ? exitCodes.Storage : exitCodes.Failed
  return new Ended({ code, tag, message })
}
