import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import type * as Command from "@effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Operator } from "../operate/Operator.js"
import * as OperatorClient from "../operate/OperatorClient.js"
import type { Request, Tag, Value } from "../operate/OperatorRequests.js"
import { messageOf } from "../resilience/Foreign.js"
import { type Ended, ended, endedBy } from "./exit.js"
import { flag, optional } from "./options.js"
import { type Screen, screenOf } from "./render/terminal.js"

/** The options of every command that asks an operator. */
export const common = {
  json: flag("json", "Print JSON, for scripts"),
  config: optional("config", "The configuration file. Default: recovery.config.ts in this folder or above"),
  database: optional("database", "The SQLite file, without a configuration. Default: $RECOVERY_DATABASE"),
  readonly: flag("read-only", "Change nothing, for a copy of a database; ignores recovery.config.ts")
}

export type Common = Command.Command.ParseConfig<typeof common>

interface Opened {
  /** The configuration or database file. */
  readonly where: string
  readonly operator: Operator
}

const configNames = ["recovery.config.ts", "recovery.config.mts", "recovery.config.js", "recovery.config.mjs"]

const findConfig = ({ config, database, readonly }: Common): Effect.Effect<string | undefined, Ended> => {
  if (config !== undefined && readonly) {
    return ended("Config", "--read-only opens a database: use it with --database, not with --config.")
  }
  if (config !== undefined) {
    const file = path.resolve(config)
    return fs.existsSync(file) ? Effect.succeed(file) : ended("Config", `There is no configuration file ${file}.`)
  }
  if (database !== undefined || readonly) return Effect.succeed(undefined)
  for (let folder = process.cwd(); ; folder = path.dirname(folder)) {
    const found = configNames.map((name) => path.join(folder, name)).find((file) => fs.existsSync(file))
    if (found !== undefined) return Effect.succeed(found)
    if (path.dirname(folder) === folder) return Effect.succeed(undefined)
  }
}

interface Loader {
  readonly createJiti: (from: string) => { readonly import: (file: string) => Promise<unknown> }
}

/** The loader for TypeScript is an optional package, so its name must not be resolved when bundling. */
const loader: string = "jiti"

const loadConfig = (file: string): Effect.Effect<unknown, Ended> =>
  Effect.tryPromise({
    try: async () => {
      if (!/\.m?ts$/.test(file)) return await import(pathToFileURL(file).href)
      const jiti = (await import(loader).catch(() => undefined)) as Loader | undefined
      if (jiti === undefined)
        throw new Error("TypeScript needs the package jiti: npm install jiti, or write recovery.config.mjs")
      return await jiti.createJiti(pathToFileURL(file).href).import(file)
    },
    catch: (cause) => ended("Config", `${file} cannot be loaded: ${messageOf(cause)}`)
  })

const isFactory = (value: unknown): value is () => Operator => typeof value === "function"

const fromConfig = (file: string): Effect.Effect<Opened, Ended> =>
  Effect.flatMap(loadConfig(file), (module) => {
    const exported = typeof module === "object" && module !== null && "default" in module ? module.default : undefined
    if (!isFactory(exported)) return ended("Config", `${file} must export default Operator.define({ storage, … }).`)
    return Effect.try({
      try: () => ({ where: file, operator: exported() }),
      catch: (cause) => ended("Config", `${file} threw an error: ${messageOf(cause)}`)
    })
  })

const defaultDatabase = (): string =>
  path.join(process.env.XDG_DATA_HOME || path.join(os.homedir(), ".local", "share"), "effect-recovery", "recovery.db")

/** The name that was given for the database, and by what. */
const givenDatabase = (option: string | undefined): readonly [by: string, filename: string] | undefined => {
  if (option !== undefined) return ["--database", option]
  const { RECOVERY_DATABASE } = process.env
  return RECOVERY_DATABASE === undefined ? undefined : ["RECOVERY_DATABASE", RECOVERY_DATABASE]
}

const refuseFilename = ([by, filename]: readonly [by: string, filename: string]): Ended | undefined => {
  const code = by === "--database" ? "Usage" : "Config"
  if (filename.trim() === "") {
    return ended(code, `${by} is empty. Set it to the path of a file, or leave it out to use ${defaultDatabase()}.`)
  }
  return filename.trim() === ":memory:"
    ? ended(code, `${by} is ":memory:", but a database in memory ends with each command. Set it to the path of a file.`)
    : undefined
}

/** The database file. Creates its folder, unless it is opened read-only. */
export const databaseOf = (option: string | undefined, readonly = false): Effect.Effect<string, Ended> =>
  Effect.suspend(() => {
    const given = givenDatabase(option)
    const refused = given && refuseFilename(given)
    if (refused !== undefined) return refused
    return Effect.try({
      try: () => {
        const filename = path.resolve(given?.[1] ?? defaultDatabase())
        if (!readonly) fs.mkdirSync(path.dirname(filename), { recursive: true })
        return filename
      },
      catch: (cause) => ended("Storage", `The folder of the database cannot be created: ${messageOf(cause)}`)
    })
  })

/** Without a configuration no workflow can be executed; records can be read and written. */
const fromDatabase = ({ database, readonly }: Common): Effect.Effect<Opened, Ended> =>
  Effect.gen(function* () {
    const filename = yield* databaseOf(database, readonly)
    // Most of the library is loaded only here, so that --help starts fast.
    const { operatorOf } = yield* Effect.promise(() => import("./database.js"))
    return { where: filename, operator: operatorOf(filename, readonly) }
  })

/** Opens the operator of the configuration or database, and closes it with the scope. */
export const open = (given: Common) =>
  Effect.acquireRelease(
    Effect.flatMap(findConfig(given), (file) => (file === undefined ? fromDatabase(given) : fromConfig(file))),
    ({ operator }) => Effect.promise(() => operator.close())
  )

/** Refuses a write before the database is opened. The table is loaded only here, so that --help starts fast. */
const refuseWriting = (tag: Tag) =>
  Effect.flatMap(
    Effect.promise(() => import("../operate/OperatorRequests.js")),
    ({ requests }) =>
      requests[tag].writes
        ? ended("Refused", "--read-only allows no command that changes records.", "ReadOnly")
        : Effect.void
  )

/**
 * Sends a request and prints its reply. `failed` returns a message if the reply
 * means that the command failed.
 */
export const ask = <T extends Tag>(
  given: Common,
  request: Request<T>,
  view: (screen: Screen, value: Value<T>) => string,
  failed: (value: Value<T>) => string | undefined = () => undefined
) =>
  Effect.gen(function* () {
    if (given.readonly) yield* refuseWriting(request._tag)
    const { operator, where } = yield* open(given)
    const reply = yield* OperatorClient.ask<T>(operator, request)
    if (!reply.ok) return yield* endedBy(reply)
    yield* Console.log(given.json ? JSON.stringify(reply.value, null, 2) : view(screenOf(process.stdout), reply.value))
    if (!given.json && process.stdout.isTTY) yield* Console.error(`(${where})`)
    const message = failed(reply.value)
    if (message !== undefined) return yield* ended("Failed", message)
  }).pipe(Effect.scoped)
