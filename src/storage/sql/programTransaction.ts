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
