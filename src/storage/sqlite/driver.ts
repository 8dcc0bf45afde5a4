import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { StorageError } from "../StorageError.js"
import { type DatabaseFile, filenameProblem, openFile } from "./databaseFile.js"
import { toStorageError } from "./errors.js"

/** The part of better-sqlite3 that is used. Its own types stay out of the public declarations. */
export interface Database {
  readonly inTransaction: boolean
  readonly prepare: (sql: string) => Statement
  readonly pragma: (source: string) => unknown
  readonly exec: (sql: string) => unknown
  readonly close: () => unknown
}

export interface Statement {
  readonly reader: boolean
  readonly run: (...params: ReadonlyArray<unknown>) => {
    readonly changes: number
    readonly lastInsertRowid: number | bigint
  }
  readonly get: (...params: ReadonlyArray<unknown>) => unknown
  readonly all: (...params: ReadonlyArray<unknown>) => ReadonlyArray<unknown>
  readonly iterate: (...params: ReadonlyArray<unknown>) => Iterable<unknown>
  readonly raw: (toggle: boolean) => Statement
  readonly safeIntegers: (toggle: boolean) => Statement
}

type Constructor = new (
  filename: string,
  options: { readonly timeout: number; readonly readonly: boolean; readonly fileMustExist: boolean }
) => Database

export interface OpenOptions {
  readonly filename: string
  readonly durability: Durability
  readonly readonly: boolean
}

/** The crashes that a commit survives: see `Options.durability` of the client. */
export type Durability = "power-loss" | "process-crash"

const load: Effect.Effect<Constructor, StorageError> = Effect.tryPromise({
  // The name is a variable, so that bundlers and type checkers do not require a package that memory users do not install.
  try: () => import(client) as Promise<{ readonly default: Constructor }>,
  catch: (cause) => new StorageError({ reason: "ClientMissing", operation: "Loading better-sqlite3", cause })
}).pipe(Effect.map((module) => module.default))

const client: string = "better-sqlite3"

/**
 * Opens the file and closes it with the scope. `timeout: 0`: SQLite's own busy
 * handler would block the event loop; the writer retries by a policy instead.
 */
export const open = (
  options: OpenOptions
): Effect.Effect<readonly [Database, DatabaseFile], StorageError, Scope.Scope> => {
  const { filename, readonly } = options
  const problem = filenameProblem(filename)
  if (problem !== undefined) {
    return Effect.fail(
      new StorageError({ reason: "Filename", operation: "Opening the database", cause: new Error(problem) })
    )
  }
  return Effect.flatMap(load, (Sqlite) =>
    Effect.acquireRelease(
      Effect.try({
        try: () => openFile(options, () => new Sqlite(filename, { timeout: 0, readonly, fileMustExist: readonly })),
        catch: (cause) => cannotOpen(filename, cause)
      }),
      ([database]) => Effect.sync(() => database.close())
    )
  )
}

/** better-sqlite3 throws a TypeError for a missing folder, and its loader an Error for a missing binary. */
const cannotOpen = (filename: string, cause: unknown): StorageError => {
  const operation = `Opening ${filename}`
  if (cause instanceof Error && /bindings file|NODE_MODULE_VERSION|\.node'/.test(cause.message)) {
    return new StorageError({ reason: "ClientMissing", operation, cause })
  }
  if (cause instanceof TypeError) return new StorageError({ reason: "CannotOpen", operation, cause })
  return toStorageError(operation)(cause)
}

/** The caller retries while the file is busy: the switch to WAL needs exclusive access for a moment. */
export const configure = (database: Database, options: OpenOptions): void => {
  if (options.readonly) {
    // Reads the file, so that one that is not a database fails here.
    database.pragma("schema_version")
    return
  }
  database.pragma("journal_mode = WAL")
  database.pragma(`synchronous = ${options.durability === "power-loss" ? "FULL" : "NORMAL"}`)
  database.pragma("foreign_keys = ON")
}
