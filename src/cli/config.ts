import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import type { Operator } from "../operate/Operator.js"
import { messageOf, readString, safely } from "../resilience/Foreign.js"
import { type Ended, ended } from "./exit.js"
import { absolute, homeFolder, requireFolder } from "./paths.js"

const names = ["recovery.config.ts", "recovery.config.mts", "recovery.config.js", "recovery.config.mjs"]

/** A folder with one of these is the root of a project: what lies above it belongs to something else. */
const rootMarks = ["package.json", ".git", "pnpm-workspace.yaml", "deno.json", "deno.jsonc"]

const isFile = (file: string): boolean => fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true

/** The folder itself and those above it, up to the root of the project, the user's home or the root of the file system. */
const searched = (start: string): ReadonlyArray<string> => {
  const home = homeFolder()
  const top = home && (safely(() => fs.realpathSync(home)) ?? home)
  const folders: Array<string> = []
  for (let folder = start; ; folder = path.dirname(folder)) {
    folders.push(folder)
    const isRoot = rootMarks.some((mark) => fs.existsSync(path.join(folder, mark)))
    if (isRoot || folder === top || path.dirname(folder) === folder) return folders
  }
}

/** Why another user decides what is in this file or folder; undefined if only this user does. */
const distrust = (place: string, uid: number): string | undefined => {
  const { gid, mode, uid: owner } = fs.statSync(place)
  if (owner !== uid) return `${place} belongs to another user (uid ${owner}, yours is ${uid})`
  // Many distributions give each user a private group with the user's number, and make new files writable for it.
  const isShared = (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== uid)
  const written = `may be written by other users (mode ${(mode & 0o7777).toString(8).padStart(4, "0")})`
  return isShared ? `${place} ${written}; "chmod go-w ${place}" mends that` : undefined
}

/** A configuration is a program, so a file that was not named must be the user's own, in a folder that is. */
const requireTrust = (file: string): Effect.Effect<string, Ended> =>
  Effect.suspend(() => {
    const uid = process.geteuid?.()
    // Windows has neither owners nor modes of this kind.
    if (uid === undefined) return Effect.succeed(file)
    const real = fs.realpathSync(file)
    const places = new Set([path.dirname(file), path.dirname(real), real])
    const reason = [...places].map((place) => distrust(place, uid)).find((reason) => reason !== undefined)
    return reason === undefined
      ? Effect.succeed(file)
      : ended(
          "Config",
          `The configuration ${file} is not loaded: ${reason}. To load it all the same, name it: --config ${file}`,
          "ConfigNotTrusted"
        )
  })

/** The configuration in the working folder or above it, inside the project; undefined if there is none. */
export const findConfig: Effect.Effect<string | undefined, Ended> = Effect.gen(function* () {
  const folder = yield* requireFolder(
    "no recovery.config.ts can be looked for. Change to another folder, or use --config or --database."
  )
  const found = searched(folder)
    .flatMap((folder) => names.map((name) => path.join(folder, name)))
    .find(isFile)
  return found === undefined ? undefined : yield* requireTrust(found)
})

/** The configuration that the command line names. Its owner is not checked: the user chose it. */
export const namedConfig = (config: string): Effect.Effect<string, Ended> =>
  Effect.flatMap(absolute(config), (file) =>
    fs.existsSync(file) ? Effect.succeed(file) : ended("Config", `There is no configuration file ${file}.`)
  )

interface Loader {
  readonly createJiti: (from: string) => { readonly import: (file: string) => Promise<unknown> }
}

/** The loader for TypeScript is an optional package, so its name must not be resolved when bundling. */
const loader: string = "jiti"

const importFile = (file: string): Promise<unknown> => import(pathToFileURL(file).href)

/** Without the loader, `otherwise` is what is wrong. */
const importByLoader = async (file: string, otherwise: unknown): Promise<unknown> => {
  const jiti = (await import(loader).catch(() => undefined)) as Loader | undefined
  if (jiti === undefined) throw otherwise
  return await jiti.createJiti(pathToFileURL(file).href).import(file)
}

const noLoader = new Error(
  "TypeScript needs Node 22.18, or the package jiti: npm install jiti. Or write recovery.config.mjs"
)

/** Since Node 22.18 Node itself reads TypeScript whose types can be erased, in less time than a loader. */
const isNative = "typescript" in process.features && process.features.typescript !== false

/** What Node refuses before it executes anything: an enum, an import without its extension, a type imported as a value. */
const isRefusedByNode = (error: unknown): boolean =>
  error instanceof SyntaxError ||
  /^ERR_(?:MODULE|UNKNOWN|UNSUPPORTED|INVALID_TYPESCRIPT)/.test(readString(error, "code") ?? "")

const importTypeScript = (file: string): Promise<unknown> =>
  isNative
    ? importFile(file).catch((error) => {
        if (isRefusedByNode(error)) return importByLoader(file, error)
        throw error
      })
    : importByLoader(file, noLoader)

const loadConfig = (file: string): Effect.Effect<unknown, Ended> =>
  Effect.tryPromise({
    try: () => (/\.m?ts$/.test(file) ? importTypeScript(file) : importFile(file)),
    catch: (cause) => ended("Config", `${file} cannot be loaded: ${messageOf(cause)}`)
  })

const isFactory = (value: unknown): value is () => Operator => typeof value === "function"

/** The operator that a configuration exports. */
export const operatorFrom = (file: string): Effect.Effect<Operator, Ended> =>
  Effect.flatMap(loadConfig(file), (module) => {
    const exported = typeof module === "object" && module !== null && "default" in module ? module.default : undefined
    if (!isFactory(exported)) return ended("Config", `${file} must export default Operator.define({ storage, … }).`)
    return Effect.try({
      try: () => exported(),
      catch: (cause) => ended("Config", `${file} threw an error: ${messageOf(cause)}`)
    })
  })
