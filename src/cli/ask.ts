import * as fs from "node:fs"
import * as path from "node:path"
import type * as Command from "@effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Operator } from "../operate/Operator.js"
import * as OperatorClient from "../operate/OperatorClient.js"
import type { Request, Tag, Value } from "../operate/OperatorRequests.js"
import { messageOf } from "../resilience/Foreign.js"
import { findConfig, namedConfig, operatorFrom } from "./config.js"
import { type Ended, ended, endedBy } from "./exit.js"
import { flag, optional } from "./options.js"
import { absolute, homeFolder } from "./paths.js"
import { plainText, type Screen, screenOf } from "./render/screen.js"
import { isAddress, parseAddress, shownAddress } from "./serverAddress.js"

/** The options of every command that asks an operator. */
export const common = {
  json: flag("json", "Print JSON, for scripts"),
  config: optional("config", "The configuration file. Default: recovery.config.ts in this project"),
  database: optional(
    "database",
    "The SQLite file, or the postgres:// address of a server, without a configuration. Default: $RECOVERY_DATABASE"
  ),
  readonly: flag("read-only", "Change nothing, for a copy of a database; ignores recovery.config.ts"),
  verbose: flag("verbose", "Name the configuration or database on the standard error")
}

export type Common = Command.Command.ParseConfig<typeof common>

export interface Opened {
  readonly kind: "configuration" | "database"
  /** The configuration or database file, or the address of a server. */
  readonly where: string
  readonly operator: Operator
}

/** The configuration to use; undefined for the database alone. */
export const configOf = ({ config, database, readonly }: Common): Effect.Effect<string | undefined, Ended> => {
  if (config === undefined) return database !== undefined || readonly ? Effect.succeed(undefined) : findConfig
  return readonly
    ? ended("Config", "--read-only opens a database: use it with --database, not with --config.")
    : namedConfig(config)
}

const defaultDatabase = (): Effect.Effect<string, Ended> =>
  Effect.suspend(() => {
    const { XDG_DATA_HOME: given = "" } = process.env
    const home = homeFolder()
    // The specification of XDG_DATA_HOME ignores relative paths.
    const data = path.isAbsolute(given) ? given : home && path.join(home, ".local", "share")
    return data === undefined
      ? ended("Usage", "This user has no home folder. Name a database: --database FILE, or $RECOVERY_DATABASE.")
      : Effect.succeed(path.join(data, "effect-recovery", "recovery.db"))
  })

/** The name that was given for the database, and by what. */
const givenDatabase = (option: string | undefined): readonly [by: string, filename: string] | undefined => {
  if (option !== undefined) return ["--database", option]
  const { RECOVERY_DATABASE } = process.env
  return RECOVERY_DATABASE === undefined ? undefined : ["RECOVERY_DATABASE", RECOVERY_DATABASE]
}

const refuseFilename = ([by, filename]: readonly [by: string, filename: string]): Ended | undefined => {
  const code = by === "--database" ? "Usage" : "Config"
  if (filename.trim() === "") {
    return ended(code, `${by} is empty. Set it to the path of a file, or leave it out to use the default database.`)
  }
  return filename.trim() === ":memory:"
    ? ended(code, `${by} is ":memory:", but a database in memory ends with each command. Set it to the path of a file.`)
    : undefined
}

/** The address of a server; undefined for a file. */
export const addressOf = (option: string | undefined): Effect.Effect<URL | undefined, Ended> => {
  const given = givenDatabase(option)
  if (given === undefined) return Effect.succeed(undefined)
  const [by, name] = given
  return parseAddress(by, name, by === "--database" ? "Usage" : "Config")
}

/** The database file, which may not exist. */
export const databaseFile = (option: string | undefined): Effect.Effect<string, Ended> =>
  Effect.gen(function* () {
    const given = givenDatabase(option)
    const refused = given && refuseFilename(given)
    if (refused !== undefined) return yield* refused
    if (given !== undefined && (yield* addressOf(option)) !== undefined) {
      return yield* ended(
        given[0] === "--database" ? "Usage" : "Config",
        `This command needs the path of a SQLite file, and ${given[0]} names a server: name a file with --database.`
      )
    }
    return yield* given === undefined ? defaultDatabase() : absolute(given[1])
  })

/** Creates the folder of a database that a command creates. */
export const createFolder = (filename: string): Effect.Effect<string, Ended> =>
  Effect.try({
    try: () => {
      fs.mkdirSync(path.dirname(filename), { recursive: true, mode: 0o700 })
      return filename
    },
    catch: (cause) => ended("Storage", `The folder of the database cannot be created: ${messageOf(cause)}`)
  })

/** Whether the file exists. Refuses one that was named and does not; the default one may be missing. */
const isThere = (option: string | undefined, filename: string): Effect.Effect<boolean, Ended> => {
  if (fs.existsSync(filename)) return Effect.succeed(true)
  const given = givenDatabase(option)
  if (given === undefined) return Effect.succeed(false)
  return ended(
    "Storage",
    `There is no database ${filename}: name an existing one with ${given[0]}. A program creates its database when it opens its storage.`,
    "NoDatabase"
  )
}

/**
 * The storage of the database. Only `creates` creates what is missing: other commands see an empty storage in place of
 * the default database, and refuse another one that is missing or has no tables.
 */
const storageOf = ({ database, readonly }: Common, creates: boolean) =>
  Effect.gen(function* () {
    const address = yield* addressOf(database)
    // The storages are loaded only here, so that --help starts fast.
    const { loadPostgres, requireTables, tablesOfFile, tablesOfServer } = yield* Effect.promise(
      () => import("./tables.js")
    )
    if (address !== undefined) {
      const { layer } = yield* loadPostgres
      const where = shownAddress(address)
      if (!creates) yield* requireTables(where, tablesOfServer(address, where))
      return { where, storage: layer(address, where, readonly) }
    }
    const filename = yield* databaseFile(database)
    if (creates) yield* createFolder(filename)
    else if (yield* isThere(database, filename)) yield* requireTables(filename, tablesOfFile(filename))
    else {
      const { layerMemory } = yield* Effect.promise(() => import("../storage/Storage.js"))
      return { where: `${filename}, which does not exist yet`, storage: layerMemory }
    }
    const { layer } = yield* Effect.promise(() => import("../storage/sqlite/SqliteStorage.js"))
    return { where: filename, storage: layer({ filename, readonly }) }
  })

/** Without a configuration no workflow can be executed; records can be read and written. */
const fromDatabase = (given: Common, creates: boolean): Effect.Effect<Opened, Ended> =>
  Effect.gen(function* () {
    const { storage, where } = yield* storageOf(given, creates)
    const { operatorOf } = yield* Effect.promise(() => import("./database.js"))
    return { kind: "database", where, operator: operatorOf(storage) }
  })

const fromConfig = (file: string): Effect.Effect<Opened, Ended> =>
  Effect.map(operatorFrom(file), (operator) => ({ kind: "configuration", where: file, operator }))

/**
 * Opens the operator of the configuration or database, and closes it with the scope. A database that is missing is
 * created only if `creates` says so.
 */
export const open = (given: Common, creates = false) =>
  Effect.acquireRelease(
    Effect.flatMap(configOf(given), (file) => (file === undefined ? fromDatabase(given, creates) : fromConfig(file))),
    ({ operator }) => Effect.promise(() => operator.close())
  ).pipe(
    Effect.tap(({ kind, where }) =>
      given.verbose ? Console.error(`recovery: uses the ${kind} ${where}`) : Effect.void
    )
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

/** What records something new by its nature. All other requests read, or act on something that must exist. */
const creating: ReadonlySet<Tag> = new Set<Tag>(["Report", "CreateCheckpoint"])

/** Opens the operator for a request, and closes it with the scope. */
export const openFor = (given: Common, tag: Tag) =>
  Effect.zipRight(given.readonly ? refuseWriting(tag) : Effect.void, open(given, creating.has(tag)))

/** The value of the reply. A refusal ends the program. */
export const valueOf = <T extends Tag>(
  { operator, where }: Opened,
  request: Request<T>
): Effect.Effect<Value<T>, Ended> =>
  Effect.flatMap(OperatorClient.ask<T>(operator, request), (reply) =>
    reply.ok ? Effect.succeed(reply.value) : endedBy(reply, where)
  )

/** The option that names the storage, without the password of an address: it must not be printed. */
const targetOf = ({ config, database }: Common): Screen["target"] => {
  if (config !== undefined) return [["config", config]]
  if (database === undefined) return []
  return [["database", isAddress(database) ? shownAddress(new URL(database.trim())) : database]]
}

const screenFor = (given: Common): Screen => ({ ...screenOf(process.stdout), target: targetOf(given) })

/** Prints a value as JSON or as a view. */
export const print = <A>(
  given: Common,
  { where }: Pick<Opened, "where">,
  value: A,
  view: (screen: Screen, value: A) => string
) =>
  Effect.zipRight(
    Console.log(given.json ? JSON.stringify(value, null, 2) : plainText(view(screenFor(given), value))),
    !given.json && process.stdout.isTTY ? Console.error(`(${where})`) : Effect.void
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
    const opened = yield* openFor(given, request._tag)
    const value = yield* valueOf(opened, request)
    yield* print(given, opened, value, view)
    const message = failed(value)
    if (message !== undefined) return yield* ended("Failed", message)
  }).pipe(Effect.scoped)
