import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { messageOf } from "../../resilience/Foreign.js"
import { StorageError } from "../StorageError.js"
import * as betterSqlite3 from "./betterSqlite3.js"
import * as bunSqlite from "./bunSqlite.js"
import { type DatabaseFile, filenameProblem, openFile } from "./databaseFile.js"
import { toStorageError } from "./errors.js"
import * as nodeSqlite from "./nodeSqlite.js"

/** What opens the file: the package `better-sqlite3`, or the SQLite of Node, Deno or Bun. */
export type DriverName = "better-sqlite3" | "node:sqlite" | "bun:sqlite"

export interface Driver {
  readonly name: DriverName
  readonly open: (options: { readonly filename: string; readonly readonly: boolean }) => Database
  /**
   * Copies a file that is open, in pieces between which other work runs, as of one
   * moment. Returns the number of pages. Settles only after everything is closed.
   */
  readonly backup: (source: string, destination: string, signal: AbortSignal) => Promise<number>
}

/**
 * The part of better-sqlite3 that is used, whose objects serve without a wrapper;
 * the other drivers are adapted to it. Errors of SQLite have the name of their
 * extended code as `code`, bytes are a `Buffer`, and `undefined` is NULL.
 */
export interface Database {
  readonly inTransaction: boolean
  readonly prepare: (sql: string) => Statement
  readonly exec: (sql: string) => unknown
  readonly loadExtension: (path: string) => unknown
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

export interface OpenOptions {
  readonly filename: string
  readonly durability: Durability
  readonly readonly: boolean
  /** The first that loads, if it is not given. */
  readonly driver?: DriverName | undefined
}

/** The crashes that a commit survives: see `Options.durability` of the client. */
export type Durability = "power-loss" | "process-crash"

const loaders: Readonly<Record<DriverName, () => Promise<Driver>>> = {
  "better-sqlite3": betterSqlite3.load,
  "node:sqlite": nodeSqlite.load,
  "bun:sqlite": bunSqlite.load
}

/** `better-sqlite3` is compiled for Node's version of V8. */
const ofThisRuntime: ReadonlyArray<DriverName> =
  "bun" in process.versions
    ? ["bun:sqlite"]
    : "deno" in process.versions
      ? ["node:sqlite"]
      : ["better-sqlite3", "node:sqlite"]

/** Each driver of this runtime in the order of preference, with the problem of one that does not load. */
export const loadDrivers: Effect.Effect<
  ReadonlyArray<{ readonly name: DriverName; readonly problem: string | undefined }>
> = Effect.forEach(ofThisRuntime, (name) =>
  Effect.promise(() =>
    loaders[name]().then(
      () => ({ name, problem: undefined }),
      (cause) => ({ name, problem: messageOf(cause) })
    )
  )
)

/** The first driver that loads. */
const load = (candidates: ReadonlyArray<DriverName>): Effect.Effect<Driver, StorageError> =>
  Effect.mapError(
    Effect.validateFirst(candidates, (name) =>
      Effect.tryPromise({
        try: loaders[name],
        catch: (cause) => new Error(`${name}: ${messageOf(cause)}`, { cause })
      })
    ),
    (failures) =>
      new StorageError({
        reason: "ClientMissing",
        operation: "Loading SQLite",
        cause: new AggregateError(failures, failures.map(messageOf).join("; "))
      })
  )

export interface Opened {
  readonly database: Database
  readonly driver: Driver
  readonly file: DatabaseFile
}

/**
 * Opens the file and closes it with the scope. SQLite's own busy handler would
 * block the event loop, so drivers turn it off; the writer retries by a policy.
 */
export const open = (options: OpenOptions): Effect.Effect<Opened, StorageError, Scope.Scope> => {
  const { filename, readonly } = options
  const problem = filenameProblem(filename)
  if (problem !== undefined) {
    return Effect.fail(
      new StorageError({ reason: "Filename", operation: "Opening the database", cause: new Error(problem) })
    )
  }
  const candidates = options.driver === undefined ? ofThisRuntime : [options.driver]
  return Effect.flatMap(load(candidates), (driver) =>
    Effect.acquireRelease(
      Effect.try({
        try: () => {
          const [database, file] = openFile(options, (filename) => driver.open({ filename, readonly }))
          return { database, driver, file }
        },
        catch: (cause) => cannotOpen(filename, cause)
      }),
      ({ database }) => Effect.sync(() => database.close())
    )
  )
}

/** better-sqlite3 throws a TypeError for a missing folder. */
const cannotOpen = (filename: string, cause: unknown): StorageError => {
  const operation = `Opening ${filename}`
  return cause instanceof TypeError
    ? new StorageError({ reason: "CannotOpen", operation, cause })
    : toStorageError(operation)(cause)
}

/** The caller retries while the file is busy: the switch to WAL needs exclusive access for a moment. */
export const configure = (database: Database, options: OpenOptions): void => {
  if (options.readonly) {
    // Reads the file, so that one that is not a database fails here.
    database.exec("PRAGMA schema_version")
    return
  }
  database.exec("PRAGMA journal_mode = WAL")
  database.exec(`PRAGMA synchronous = ${options.durability === "power-loss" ? "FULL" : "NORMAL"}`)
  database.exec("PRAGMA foreign_keys = ON")
}
