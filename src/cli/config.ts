import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Operator from "../operate/Operator.js"
import { Ended, exitCodes } from "./exit.js"

const names = ["recovery.config.ts", "recovery.config.mts", "recovery.config.js", "recovery.config.mjs"]

export interface Given {
  readonly config: Option.Option<string>
  readonly database: Option.Option<string>
  readonly readonly: boolean
}

/** Where things are kept, in words, and who answers. */
export interface Opened {
  readonly where: string
  readonly operator: Operator.Operator
}

const refuse = (message: string) => new Ended({ code: exitCodes.Config, tag: "Config", message })

/** The file that was named, or the nearest one in this folder and those above it. */
const findConfig = ({ config, database, readonly }: Given): Effect.Effect<string | undefined, Ended> => {
  if (Option.isSome(config) && readonly) return refuse("--read-only reads a database, and takes no --config.")
  if (Option.isSome(config)) {
    const file = path.resolve(config.value)
    return fs.existsSync(file) ? Effect.succeed(file) : refuse(`There is no configuration at ${file}.`)
  }
  if (Option.isSome(database) || readonly) return Effect.succeed(undefined)
  for (let folder = process.cwd(); ; folder = path.dirname(folder)) {
    const found = names.map((name) => path.join(folder, name)).find((file) => fs.existsSync(file))
    if (found !== undefined) return Effect.succeed(found)
    if (path.dirname(folder) === folder) return Effect.succeed(undefined)
  }
}

interface Loader {
  readonly createJiti: (from: string) => { readonly import: (file: string) => Promise<unknown> }
}

/** TypeScript needs a loader that programs with plain JavaScript need not install. */
const loader: string = "jiti"

const load = (file: string): Effect.Effect<unknown, Ended> =>
  Effect.tryPromise({
    try: async () => {
      if (!/\.m?ts$/.test(file)) return await import(pathToFileURL(file).href)
      const jiti = (await import(loader).catch(() => undefined)) as Loader | undefined
      if (jiti === undefined)
        throw new Error("TypeScript is read by jiti: npm install jiti, or write recovery.config.mjs")
      return await jiti.createJiti(pathToFileURL(file).href).import(file)
    },
    catch: (cause) => refuse(`${file} cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`)
  })

const isOpener = (value: unknown): value is () => Operator.Operator => typeof value === "function"

const fromConfig = (file: string): Effect.Effect<Opened, Ended> =>
  Effect.flatMap(load(file), (module) => {
    const exported = typeof module === "object" && module !== null && "default" in module ? module.default : undefined
    if (!isOpener(exported)) return refuse(`${file} must export default Operator.define({ storage, … }).`)
    return Effect.try({
      try: () => ({ where: file, operator: exported() }),
      catch: (cause) => refuse(`${file} has thrown: ${cause instanceof Error ? cause.message : String(cause)}`)
    })
  })

/** `$RECOVERY_DATABASE`, or a file of the user's. */
const defaultDatabase = (): string =>
  process.env.RECOVERY_DATABASE ||
  path.join(process.env.XDG_DATA_HOME || path.join(os.homedir(), ".local", "share"), "effect-recovery", "recovery.db")

/** Its file, in a folder that exists. */
export const databaseOf = (given: Option.Option<string>, readonly = false): Effect.Effect<string, Ended> =>
  Effect.try({
    try: () => {
      const filename = path.resolve(Option.getOrElse(given, defaultDatabase))
      if (!readonly) fs.mkdirSync(path.dirname(filename), { recursive: true })
      return filename
    },
    catch: (cause) =>
      new Ended({
        code: exitCodes.Storage,
        tag: "Storage",
        message: `The database cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}`
      })
  })

/** Without a configuration nothing can be executed, but everything looked at and written down. */
const fromDatabase = ({ database, readonly }: Given): Effect.Effect<Opened, Ended> =>
  Effect.gen(function* () {
    const filename = yield* databaseOf(database, readonly)
    // The library that answers is loaded when something is asked of it.
    const { operatorOf } = yield* Effect.promise(() => import("./database.js"))
    return { where: filename, operator: operatorOf(filename, readonly) }
  })

export const open = (given: Given) =>
  Effect.acquireRelease(
    Effect.flatMap(findConfig(given), (file) => (file === undefined ? fromDatabase(given) : fromConfig(file))),
    ({ operator }) => Effect.promise(() => operator.close())
  )
