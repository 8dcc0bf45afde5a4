import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { CommitFailed, type NotDone, type Run, withoutSqlError } from "./access.js"

/** How one dialect begins and ends a transaction on a reserved connection. */
export interface Ends {
  /** Reserves a connection and begins. */
  readonly begin: Effect.Effect<Connection, NotDone, Scope.Scope>
  /** Fails if the body has ended the transaction. */
  readonly verify: (connection: Connection) => Effect.Effect<void, SqlError>
  readonly commit: (connection: Connection) => Effect.Effect<void, SqlError>
  readonly rollback: (connection: Connection) => Effect.Effect<void>
  readonly runOn: (connection: Connection) => Run
}

/**
 * Statements of the program and ours in one transaction. Only the body can be
 * interrupted: whether the commit happened must be known.
 */
export const makeProgramTransaction =
  (client: SqlClient.SqlClient, { begin, commit, rollback, runOn, verify }: Ends) =>
  <A, B, E, F, R>(
    body: Effect.Effect<A, E, R>,
    last: (run: Run, value: A) => Effect.Effect<B, F>
  ): Effect.Effect<B, E | Exclude<F, SqlError> | NotDone | CommitFailed, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(reserve(begin, restore), ([connection, scope]) => {
        const inside = Effect.mapInputContext(body, (context: Context.Context<R>) =>
          context.pipe(
            Context.add(SqlClient.TransactionConnection, [connection, 0] as const),
            Context.add(SqlClient.SqlClient, client)
          )
        )
        const recorded = (value: A) =>
          Effect.mapError(Effect.zipRight(verify(connection), last(runOn(connection), value)), (error) =>
            withoutSqlError<F>(error, false)
          )
        return Effect.exit(Effect.flatMap(restore(inside), recorded)).pipe(
          Effect.flatMap((exit): Effect.Effect<B, E | Exclude<F, SqlError> | NotDone | CommitFailed> => {
            if (Exit.isFailure(exit)) return Effect.zipRight(rollback(connection), exit)
            const committed = Effect.mapError(commit(connection), (error) => new CommitFailed(error))
            return Effect.as(
              Effect.tapError(committed, () => rollback(connection)),
              exit.value
            )
          }),
          Effect.ensuring(Scope.close(scope, Exit.void))
        )
      })
    )

/** Marks errors of the body and of ours, since the client fails with a SqlError, too. */
class Given<E> {
  readonly _tag = "Given"
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

/** As `makeProgramTransaction`, for a client whose own transactions are sound, such as ours. */
export const makeClientTransaction =
  (client: SqlClient.SqlClient, runOn: Ends["runOn"]) =>
  <A, B, E, F, R>(
    body: Effect.Effect<A, E, R>,
    last: (run: Run, value: A) => Effect.Effect<B, F>
  ): Effect.Effect<B, E | Exclude<F, SqlError> | NotDone | CommitFailed, R> => {
    type Failed = Given<E | Exclude<F, SqlError> | NotDone>
    const given = Effect.mapError(body, (error): Failed => new Given(error))
    const whole = Effect.flatMap(given, (value) =>
      Effect.flatMap(SqlClient.TransactionConnection, ([connection]) =>
        Effect.mapError(last(runOn(connection), value), (error): Failed => new Given(withoutSqlError<F>(error, false)))
      )
    )
    const committed = client.withTransaction(Effect.provideService(whole, SqlClient.SqlClient, client))
    return Effect.mapError(committed, (error) => (error._tag === "Given" ? error.error : new CommitFailed(error))) as
      // The client provides the connection and itself, so R is what the caller's body requires.
      Effect.Effect<B, E | Exclude<F, SqlError> | NotDone | CommitFailed, R>
  }

/**
 * Clients lose a connection whose reservation is interrupted while it waits. So it
 * waits in the background, and is given back there if the caller is interrupted.
 */
const reserve = (
  begin: Effect.Effect<Connection, NotDone, Scope.Scope>,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<readonly [Connection, Scope.CloseableScope], NotDone> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const fiber = yield* Effect.forkDaemon(Effect.uninterruptible(Scope.extend(begin, scope)))
    const giveBack = Effect.forkDaemon(Effect.zipRight(Fiber.await(fiber), Scope.close(scope, Exit.void)))
    const connection = yield* Effect.onExit(restore(Fiber.join(fiber)), (exit) =>
      Exit.isSuccess(exit) ? Effect.void : giveBack
    )
    return [connection, scope] as const
  })
