import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { createPrivately, filenameProblem, identityOf, isInMemory, pathOf } from "./databaseFile.js"
import type { Opened } from "./driver.js"

/** How much a backup has copied: all pages, when it is done. */
export interface BackupMetadata {
  readonly totalPages: number
  readonly remainingPages: number
}

/**
 * Copies a database that is in use. A file is read through a connection of its
 * own, so a copy waits for no transaction and delays none. A database in memory
 * has one connection only, which copies it in one statement.
 */
export const makeBackup = (opened: Opened, filename: string, sql: SqlClient.SqlClient) => {
  const copyTo = isInMemory(filename) ? copyMemory(sql) : copyFile(opened, pathOf(filename))
  return (destination: string): Effect.Effect<BackupMetadata, SqlError> =>
    Effect.suspend(() => {
      const problem = problemOf(filename, destination)
      if (problem !== undefined) return Effect.fail(failed(destination, new Error(problem)))
      const target = pathOf(destination)
      const whole = Effect.acquireUseRelease(
        Effect.sync(() => createPrivately(target)),
        () => copyTo(target),
        (isNew, exit) =>
          Effect.sync(() => {
            if (isNew && Exit.isFailure(exit)) fs.rmSync(target, { force: true })
          })
      )
      return Effect.mapBoth(whole, {
        onFailure: (cause) => failed(destination, cause),
        onSuccess: (totalPages) => ({ totalPages, remainingPages: 0 })
      })
    })
}

/** The bytes of a copy, as of one moment. */
export const makeExport = (backup: ReturnType<typeof makeBackup>): Effect.Effect<Uint8Array, SqlError> =>
  Effect.acquireUseRelease(
    attempt(() => fs.promises.mkdtemp(path.join(os.tmpdir(), "effect-recovery-export-"))),
    (folder) => {
      const file = path.join(folder, "export.db")
      return Effect.zipRight(
        backup(file),
        attempt(() => fs.promises.readFile(file))
      )
    },
    (folder) => Effect.promise(() => fs.promises.rm(folder, { recursive: true, force: true }))
  )

const attempt = <A>(work: () => Promise<A>): Effect.Effect<A, SqlError> =>
  Effect.tryPromise({
    try: work,
    catch: (cause) => new SqlError({ cause, message: "Failed to export the database" })
  })

const failed = (destination: string, cause: unknown): SqlError =>
  new SqlError({ cause, message: `Failed to back the database up to ${JSON.stringify(destination)}` })

const problemOf = (filename: string, destination: string): string | undefined => {
  const problem = filenameProblem(destination)
  if (problem !== undefined) return problem
  if (isInMemory(destination)) return "a backup needs a file"
  const isItself = !isInMemory(filename) && identityOf(filename) === identityOf(destination)
  return isItself ? "it is the file of the database itself" : undefined
}

const copyMemory =
  (sql: SqlClient.SqlClient) =>
  (target: string): Effect.Effect<number, SqlError> =>
    Effect.zipRight(
      sql`VACUUM INTO ${target}`,
      Effect.map(sql<{ readonly page_count: number }>`PRAGMA page_count`, ([row]) => row?.page_count ?? 0)
    )

/** An interruption waits until the copy has stopped. */
const copyFile =
  ({ driver, file }: Opened, source: string) =>
  (target: string): Effect.Effect<number, unknown> =>
    Effect.async((resume) => {
      const stop = new AbortController()
      const copied = async () => {
        file.verify()
        const pages = await driver.backup(source, target, stop.signal)
        // The name may have led the second connection to another file.
        file.verify()
        return pages
      }
      const settled = copied().then(
        (pages) => resume(Effect.succeed(pages)),
        (cause) => resume(Effect.fail(cause))
      )
      return Effect.promise(() => {
        stop.abort()
        return settled
      })
    })
