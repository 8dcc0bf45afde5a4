import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { read as property } from "../../resilience/Foreign.js"
import { asRead } from "../checksum.js"
import { endsTransactions } from "../programClient.js"
import type { StorageError } from "../StorageError.js"
import {
  type AccessOptions,
  type ClientAccess,
  insideTransactionOf,
  isRepeatable,
  isSqlError,
  NotDone,
  named,
  outside,
  patiently,
  type Run,
  type WriteOptions
} from "./access.js"
import { makeBatches, type Waiting } from "./batches.js"
import { type Names, sqliteDialect } from "./dialect.js"
import { isBusy, isInTransaction, toStorageError, withoutDefects } from "./errors.js"
import { makeClientTransaction, makeProgramTransaction } from "./programTransaction.js"

/** One operation that writes. */
interface Job {
  readonly operation: string
  readonly body: (run: Run) => Effect.Effect<unknown, unknown>
}

/**
 * Operations over a client of SQLite. Writes that wait share one transaction of our
 * own on a reserved connection, and so one wait for the disk.
 *
 * The stock client leaves its connection in a transaction whose commit was refused.
 * What is written after it would be rolled back with it, so that transaction is
 * ended first.
 */
export const makeSqliteAccess = (
  client: SqlClient.SqlClient,
  { durability, patienceMillis, prefix }: AccessOptions
): Effect.Effect<ClientAccess, never, Scope.Scope> =>
  Effect.gen(function* () {
    const table: Names = (name) => `"${prefix}${name}"`
    const known = new WeakSet<Connection>()
    const isInside = insideTransactionOf(client, (connection) => known.has(connection))
    const guard = (options?: WriteOptions) =>
      options?.anywhere === true ? <A, E>(self: Effect.Effect<A, E>) => self : outside(isInside)
    const retrying = patiently(patienceMillis)
    const connect = Effect.map(withoutDefects(client.reserve), (connection) => {
      known.add(connection)
      return connection
    })
    const beginWrite =
      durability === "power-loss" ? beginDurably : (connection: Connection) => begin(connection, "BEGIN IMMEDIATE")

    const batches = yield* makeBatches<Job>((batch) => {
      const waiting = new Set(batch)
      const attempt = Effect.scoped(Effect.flatMap(connect, (connection) => carryOut(connection, beginWrite, waiting)))
      return Effect.catchAll(retrying(withPlainIntegers(attempt), isBusy), (error) =>
        Effect.sync(() => {
          for (const { answer, request } of waiting) answer(Exit.fail(toStorageError(request.operation)(error)))
        })
      )
    })

    const submit = <A, E>(
      operation: string,
      body: (run: Run) => Effect.Effect<A, E>,
      options?: WriteOptions
    ): Effect.Effect<A, Exclude<E, SqlError> | StorageError> =>
      // A job answers what its body does, with a StorageError in place of a SqlError. It has the clock of its caller.
      guard(options)(
        Effect.clockWith((clock) =>
          batches.submit<A, Exclude<E, SqlError>>(operation, {
            operation,
            body: (run) => Effect.withClock(body(run), clock)
          })
        )
      )

    const read = <R extends object>(operation: string, text: string, params: ReadonlyArray<unknown> = []) => {
      const attempt = Effect.uninterruptibleMask((restore) =>
        Effect.scoped(
          Effect.flatMap(restore(connect), (connection) =>
            Effect.zipRight(
              begin(connection, "BEGIN"),
              Effect.ensuring(runOn(connection)<R>(text, params), rollback(connection))
            )
          )
        )
      )
      return outside(isInside)(Effect.mapError(retrying(withPlainIntegers(attempt), isBusy), toStorageError(operation)))
    }

    const begun = Effect.tap(
      Effect.mapError(connect, (error) => new NotDone(error, isBusy(error))),
      (connection) =>
        Effect.mapError(
          Effect.zipRight(beginWrite(connection), execute(connection, `SAVEPOINT ${body}`)),
          (error) => new NotDone(error, isBusy(error))
        )
    )
    const ofOurs = makeProgramTransaction(client, {
      begin: retrying(begun, isRepeatable),
      verify: (connection) => Effect.mapError(execute(connection, `RELEASE ${body}`), () => rolledBack),
      commit: (connection) => execute(connection, "COMMIT"),
      rollback,
      runOn
    })
    const isSound = property(client, endsTransactions) === true
    const inProgram = isSound ? makeClientTransaction(client, runOn) : ofOurs

    return {
      client,
      dialect: sqliteDialect,
      table,
      isInside,
      read,
      write: <R extends object>(
        operation: string,
        text: string,
        params: ReadonlyArray<unknown>,
        options?: WriteOptions
      ) => submit(operation, (run) => run<R>(text, params), options),
      transaction: submit,
      provideTransaction: (operation, body, last) => named(operation)(inProgram(body, last)),
      time: Clock.currentTimeMillis,
      observing: (self) => self,
      // SQLite has no clock of its own: all processes on one file run on one host.
      now: Effect.map(Clock.currentTimeMillis, (now) => ({ text: "?", params: [now] }))
    }
  })

/** The savepoint around the statements of a program. It is gone if SQLite or the program has ended the transaction. */
const body = "recovery_body"

const rolledBack = new SqlError({
  cause: new Error("the transaction was ended inside of the step, by SQLite or by a statement of the step")
})

/**
 * The stock client keeps statements for minutes, also those that it could not
 * prepare: because a table was missing at first, or because the file was busy.
 */
const runOn =
  (connection: Connection): Run =>
  (text, given = []) => {
    // Drivers bind halves of surrogate pairs in different ways.
    const params = given.map((value) => (typeof value === "string" ? asRead(value) : value))
    return Effect.catchIf(
      withoutDefects(connection.execute(text, params, undefined)),
      ({ message }) => /prepare/.test(message),
      () => withoutDefects(Effect.suspend(() => connection.executeUnprepared(text, params, undefined)))
    )
  }

const execute = (connection: Connection, text: string): Effect.Effect<void, SqlError> =>
  Effect.asVoid(runOn(connection)(text))

const rollback = (connection: Connection): Effect.Effect<void> => Effect.ignore(execute(connection, "ROLLBACK"))

/** Ends a transaction that the program has left open. */
const begin = (connection: Connection, text: string): Effect.Effect<void, SqlError> =>
  Effect.catchIf(execute(connection, text), isInTransaction, () =>
    Effect.zipRight(rollback(connection), execute(connection, text))
  )

const full = 2

/** A connection may stand at NORMAL, where a power cut takes the latest commits. It cannot be changed in a transaction. */
const beginDurably = (connection: Connection): Effect.Effect<void, SqlError> => {
  const level = Effect.map(runOn(connection)("PRAGMA synchronous"), ([row]) => Number(property(row, "synchronous")))
  const begun = Effect.zipRight(begin(connection, "BEGIN IMMEDIATE"), level)
  return Effect.flatMap(begun, (before) => {
    if (before >= full) return Effect.void
    const raised = Effect.zipRight(rollback(connection), execute(connection, "PRAGMA synchronous = FULL"))
    return Effect.flatMap(Effect.zipRight(raised, begun), (after) =>
      after >= full ? Effect.void : Effect.zipRight(rollback(connection), Effect.fail(notDurable))
    )
  })
}

const notDurable = new SqlError({
  cause: new Error("PRAGMA synchronous cannot be set to FULL, so a power cut could take what was recorded")
})

/** Runs the jobs in one transaction. If one fails, each gets a transaction of its own. Answers those that ended. */
const carryOut = (
  connection: Connection,
  begin: (connection: Connection) => Effect.Effect<void, SqlError>,
  waiting: Set<Waiting<Job>>
): Effect.Effect<void, SqlError> => {
  const run = runOn(connection)
  const together = (jobs: ReadonlyArray<Waiting<Job>>): Effect.Effect<void, SqlError> =>
    Effect.gen(function* () {
      yield* begin(connection)
      const exits: Array<Exit.Exit<unknown, unknown>> = []
      for (const { request } of jobs) {
        const exit = yield* Effect.exit(withoutDefects(request.body(run)))
        exits.push(exit)
        if (Exit.isFailure(exit)) break
      }
      const last = exits.at(-1)
      const ended =
        last !== undefined && Exit.isFailure(last) ? last : yield* Effect.exit(execute(connection, "COMMIT"))
      if (Exit.isFailure(ended)) {
        yield* rollback(connection)
        const error = Exit.isFailure(ended) && ended.cause._tag === "Fail" ? ended.cause.error : undefined
        if (isSqlError(error) && isBusy(error)) return yield* Effect.fail(error)
        if (jobs.length > 1) return yield* Effect.forEach(jobs, (job) => together([job]), { discard: true })
      }
      jobs.forEach((job, index) => {
        waiting.delete(job)
        job.answer(answerOf(job.request.operation, Exit.isFailure(ended) ? ended : (exits[index] ?? ended)))
      })
    })
  return together([...waiting])
}

const answerOf = (operation: string, exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> =>
  Exit.mapError(exit, (error) => (isSqlError(error) ? toStorageError(operation)(error) : error))

/** A statement that was once read with big integers stays so in the stock client. */
const withPlainIntegers = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(self, SqlClient.SafeIntegers, false) as Effect.Effect<A, E, R> // a reference, so it is never required
