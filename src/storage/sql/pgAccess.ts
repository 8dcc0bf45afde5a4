import type * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Scope from "effect/Scope"
import { read, readString } from "../../resilience/Foreign.js"
import { mapInSlices } from "../../resilience/internal/kernel/eventLoop.js"
import { liveClock, steadyMillis } from "../../resilience/internal/kernel/timer.js"
import { reserveWatched } from "../silence.js"
import {
  type AccessOptions,
  type ClientAccess,
  insideTransactionOf,
  isRepeatable,
  NotDone,
  type Now,
  named,
  outside,
  patiently,
  type Run,
  type WriteOptions,
  withoutSqlError
} from "./access.js"
import { type Dialect, fromPgText, makePgDialect, type Names, toPgText } from "./dialect.js"
import { isConflict, isInTransaction, isUnavailable, withoutDefects } from "./errors.js"
import { makePrepared } from "./prepared.js"
import { makeProgramTransaction } from "./programTransaction.js"

/** Begins late enough for the clock to stand still during a statement, and to be used with an index. */
const serverNow: Now = { text: "floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint", params: [] }

/**
 * Operations over the pool of a client of Postgres. Each takes a connection for as
 * long as its statements take.
 */
export const makePgAccess = (
  client: SqlClient.SqlClient,
  { clock, patienceMillis, prefix, schema }: AccessOptions
): ClientAccess => {
  const table: Names = (name) => `${schema === undefined ? "" : `"${schema}".`}"${prefix}${name}"`
  const dialect = makePgDialect(table)
  const isInside = insideTransactionOf(client, () => false)
  const guard = (options?: WriteOptions) =>
    options?.anywhere === true ? <A, E>(self: Effect.Effect<A, E>) => self : outside(isInside)
  const retrying = patiently(patienceMillis)
  const reserve = Effect.tap(withoutDefects(reserveWatched(client)), endLeftOpen)
  const connect = Effect.mapError(reserve, (error) => new NotDone(error, isUnavailable(error)))
  const runOn = runsOn(dialect)
  const prepared = makePrepared()
  const runPrepared = <R extends object>(connection: Connection, text: string, params: ReadonlyArray<unknown>) => {
    const values = params.map(toParam)
    const rows = prepared(connection, dialect.toText(text), values)
    // The statement says which columns it returns.
    return Effect.map(withoutDefects(rows), (all) => all.map(fromRow) as ReadonlyArray<R>)
  }

  const statement = <R extends object>(
    operation: string,
    text: string,
    params: ReadonlyArray<unknown>,
    options: WriteOptions | undefined
  ) => {
    const done = onConnection(connect, (connection) => {
      const once =
        options?.prepared === true ? runPrepared<R>(connection, text, params) : runOn(connection)<R>(text, params)
      return Effect.mapError(
        Effect.catchIf(once, isInTransaction, () => Effect.zipRight(rollback(connection), once)),
        (error) => new NotDone(error, isConflict(error) || (options?.idempotent === true && isUnavailable(error)))
      )
    })
    return guard(options)(named(operation)(retrying(done, isRepeatable)))
  }

  const transaction: ClientAccess["transaction"] = (operation, body, options) => {
    const done = onConnection(connect, (connection) => inTransaction(connection, body(runOn(connection)), options))
    return guard(options)(named(operation)(retrying(done, isRepeatable)))
  }

  const begun = Effect.tap(connect, (connection) =>
    Effect.mapError(
      begin(connection, "BEGIN"),
      (error) => new NotDone(error, isUnavailable(error) || isConflict(error))
    )
  )
  const inProgram = makeProgramTransaction(client, {
    begin: retrying(begun, isRepeatable),
    // A transaction that a statement has aborted refuses our line.
    verify: () => Effect.void,
    commit,
    rollback,
    runOn
  })

  const read: ClientAccess["read"] = (operation, text, params = []) =>
    statement(operation, text, params, { idempotent: true })

  return {
    client,
    dialect,
    table,
    isInside,
    read,
    ...(clock === "server" ? serverClock(read) : programClock),
    write: statement,
    transaction,
    provideTransaction: (operation, body, last) => named(operation)(inProgram(body, last))
  }
}

type StoreClock = Pick<ClientAccess, "now" | "observing" | "time">

const programClock: StoreClock = {
  now: Effect.map(Clock.currentTimeMillis, (now) => ({ text: "?::bigint", params: [now] })),
  time: Clock.currentTimeMillis,
  observing: (self) => self
}

/** Follows the server's clock by what statements tell of it, and by a clock of this process that is never set. */
const serverClock = (read: ClientAccess["read"]): StoreClock => {
  const steady = () => steadyMillis(liveClock)
  let offset: number | undefined
  const observing: StoreClock["observing"] = (self, nowOf) =>
    Effect.suspend(() => {
      const before = steady()
      return Effect.map(self, (answer) => {
        const now = nowOf(answer)
        // The server looked at its clock between the two.
        if (now !== undefined) offset = Math.min(Math.max(offset ?? 0, now - steady()), now - before)
        return answer
      })
    })
  const asked = observing(
    read<{ readonly now: unknown }>("Reading the clock", `SELECT ${serverNow.text} AS now`),
    ([row]) => Number(row?.now)
  )
  const time = Effect.suspend(() => (offset === undefined ? Effect.zipRight(asked, estimate) : estimate))
  const estimate = Effect.sync(() => Math.floor(steady() + (offset ?? 0)))
  return { now: Effect.succeed(serverNow), time, observing }
}

/**
 * In the background: a statement that is interrupted would be cancelled by the
 * process id of its connection, which may be executing the next statement.
 */
const onConnection = <A, E>(
  connect: Effect.Effect<Connection, NotDone, Scope.Scope>,
  use: (connection: Connection) => Effect.Effect<A, E>
): Effect.Effect<A, E | NotDone> =>
  Effect.withFiberRuntime((_, { runtimeFlags }) => {
    const whole = Effect.scoped(Effect.flatMap(connect, use))
    // What cannot be interrupted needs no background, such as a batch, which runs there already.
    return RuntimeFlags.interruptible(runtimeFlags) ? Effect.disconnect(Effect.uninterruptible(whole)) : whole
  })

const runsOn =
  (dialect: Dialect) =>
  (connection: Connection): Run =>
  (text, params = []) =>
    Effect.flatMap(withoutDefects(connection.execute(dialect.toText(text), params.map(toParam), undefined)), (rows) =>
      mapInSlices(rows, fromRow)
    )

const toParam = (value: unknown): unknown =>
  typeof value === "string" ? toPgText(value) : Array.isArray(value) ? value.map(toParam) : value

// biome-ignore lint/suspicious/noExplicitAny: rows are what the statement says
const fromRow = (row: any): any => {
  for (const column in row) if (typeof row[column] === "string") row[column] = fromPgText(row[column])
  return row
}

/**
 * Another program of the pool may have left its transaction open. Lines that are written there are acknowledged, and are
 * gone with its rollback. The driver knows it from the server's last answer.
 */
const endLeftOpen = (connection: Connection): Effect.Effect<void> => {
  const pg = read(connection, "pg")
  const status = read(pg, "getTransactionStatus")
  const isLeftOpen = typeof status === "function" && ["T", "E"].includes(status.call(pg))
  return isLeftOpen ? rollback(connection) : Effect.void
}

const begin = (connection: Connection, text: string): Effect.Effect<void, SqlError> => {
  const once = withoutDefects(connection.execute(text, [], undefined))
  return Effect.asVoid(Effect.catchIf(once, isInTransaction, () => Effect.zipRight(rollback(connection), once)))
}

/** The server answers the COMMIT of an aborted transaction with ROLLBACK, and with no error. */
const commit = (connection: Connection): Effect.Effect<void, SqlError> =>
  Effect.flatMap(withoutDefects(connection.executeRaw("COMMIT", [])), (result) =>
    readString(result, "command") === "ROLLBACK" ? Effect.fail(new SqlError({ cause: aborted })) : Effect.void
  )

const aborted = Object.assign(new Error("the server has rolled the transaction back"), { code: "25P02" })

/** A cancellation that was meant for an earlier statement may hit it. A broken connection has no transaction. */
const rollback = (connection: Connection): Effect.Effect<void> =>
  Effect.ignore(
    Effect.retry(withoutDefects(connection.execute("ROLLBACK", [], undefined)), { times: 3, while: isConflict })
  )

const inTransaction = <A, E>(
  connection: Connection,
  body: Effect.Effect<A, E>,
  options: WriteOptions | undefined
): Effect.Effect<A, Exclude<E, SqlError> | NotDone> => {
  // Nothing is committed before COMMIT, so all before it may be done again.
  const notYet = (error: E | SqlError) => withoutSqlError<E>(error, isConflict(error) || isUnavailable(error))
  const whole = Effect.zipRight(begin(connection, "BEGIN ISOLATION LEVEL READ COMMITTED"), body)
  return Effect.flatMap(Effect.exit(Effect.mapError(whole, notYet)), (exit) =>
    Exit.isFailure(exit)
      ? Effect.zipRight(rollback(connection), exit)
      : Effect.as(
          Effect.mapError(
            commit(connection),
            (error) => new NotDone(error, isConflict(error) || (options?.idempotent === true && isUnavailable(error)))
          ),
          exit.value
        )
  )
}
