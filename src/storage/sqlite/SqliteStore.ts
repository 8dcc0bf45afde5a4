import type * as SqlClient from "@effect/sql/SqlClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as RuntimeFlags from "effect/RuntimeFlags"
import * as Stream from "effect/Stream"
import type { Answer, Plain } from "../rows.js"
import { StorageError } from "../StorageError.js"
import type { Store, Usage } from "../Store.js"
import { makeSqliteCheck } from "./check.js"
import type { Database } from "./driver.js"
import { makeSqliteLocks } from "./locks.js"
import { makeSqliteRecords } from "./records.js"
import { makeSqliteRestore } from "./restore.js"
import { makeSqliteRuns } from "./runs.js"
import { RunTable } from "./runTable.js"
import { makeSqliteSnapshots } from "./snapshots.js"
import { isInTransactionOf } from "./transaction.js"
import { makeTransactional } from "./transactional.js"
import type { Alone, CommitDurability, Writer } from "./writer.js"

export interface Options {
  readonly database: Database
  readonly writer: Writer
  readonly client: SqlClient.SqlClient
  /** Whether the process that owns a lease is known to be dead. Its leases end at once. */
  readonly isGone: (owner: string) => boolean
}

/**
 * The store over one connection. Each operation is one synchronous job, so no
 * other statement runs between its statements. Jobs that wait together share a
 * commit.
 *
 * The clock is the host's: SQLite has none, and all processes on one file run
 * on one host.
 */
export const makeSqliteStore = ({ client, database, isGone, writer }: Options): Store => {
  const access = makeAccess(writer)
  const guarded = makeAccess(writer, database)
  const runs = new RunTable(database, isGone)
  writer.onRollback = runs.forgetLines
  const usage = database.prepare(
    `SELECT (SELECT COUNT(*) FROM recovery_runs) AS runs, (SELECT COUNT(*) FROM recovery_journal) AS lines,
       (SELECT COUNT(*) FROM recovery_snapshots) AS snapshots, (SELECT COUNT(*) FROM recovery_records) AS records,
       (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()) AS bytes`
  )
  return {
    ...makeSqliteRuns(database, runs, guarded, access),
    ...makeSqliteSnapshots(database, runs, guarded),
    ...makeSqliteLocks(database, isGone, guarded),
    ...makeSqliteRecords(database, guarded),
    transactional: makeTransactional(client, database, (lease, entries) => {
      const answer = runs.append(lease, entries)
      // The program's transaction may still be rolled back.
      runs.forgetLine(lease)
      return answer
    }),
    usage: guarded.read("Measuring the storage", () => usage.get() as Usage),
    check: makeSqliteCheck(database, runs, guarded),
    restore: makeSqliteRestore(database, guarded),
    now: Clock.currentTimeMillis,
    // A file tells nothing about the writes of other processes.
    changes: Stream.empty
  }
}

export type Access = ReturnType<typeof makeAccess>

/**
 * How the operations of the store reach the connection: each runs one synchronous
 * job, with the time. `alone` is as that of the writer.
 *
 * With a database, operations fail inside of a transaction of the program on that
 * database: it holds the connection there, so they would wait for themselves.
 */
const makeAccess = (writer: Writer, database?: Database) => {
  const timed = <A, E>(
    operation: (now: () => number, flags: RuntimeFlags.RuntimeFlags) => Effect.Effect<A, E | StorageError>
  ): Effect.Effect<A, E | StorageError> =>
    Effect.withFiberRuntime(({ currentContext, currentDefaultServices }, { runtimeFlags }) => {
      if (database !== undefined && isInTransactionOf(database, currentContext)) return Effect.fail(insideTransaction)
      const clock = Context.get(currentDefaultServices, Clock.Clock)
      return operation(() => clock.unsafeCurrentTimeMillis(), runtimeFlags)
    })
  /** For a job that decides what the operation returns or fails with. */
  const attempt = <A extends Plain, E>(
    operation: string,
    job: (now: number) => Answer<A, E>,
    alone?: () => Alone | undefined,
    durability?: CommitDurability
  ) => timed((now, flags) => writer.write(operation, () => job(now()), flags, alone?.(), durability))
  return {
    attempt,
    write: <A extends Plain>(
      operation: string,
      job: (now: number) => A,
      alone?: () => Alone | undefined,
      durability?: CommitDurability
    ) => attempt(operation, (now) => Exit.succeed(job(now)), alone, durability),
    read: <A extends Plain>(operation: string, job: (now: number) => A) =>
      timed((now, flags) => writer.read(operation, () => Exit.succeed(job(now())), flags))
  }
}

const insideTransaction = new StorageError({
  reason: "Client",
  operation: "Using the storage inside of a SQL transaction",
  cause: new Error(
    "inside of a transaction of the storage's own client only SQL can be used: save checkpoints and write shared State before or after it"
  )
})
