import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import {
  type Dialect,
  dialectOf,
  inTransaction,
  type ProgramClient,
  programClient,
  refused,
  statement
} from "./programClient.js"
import type { Restore } from "./Storage.js"
import { StorageError } from "./StorageError.js"

/** The same text for SQLite and Postgres. A row without a result is a claim: its step has not happened. */
export const onceTable = `CREATE TABLE IF NOT EXISTS effect_recovery_once (
  key TEXT NOT NULL PRIMARY KEY,
  token BIGINT NOT NULL,
  result TEXT,
  at BIGINT NOT NULL
)`

/** What the row of a step is claimed with. */
export interface Claim {
  /** The idempotency key of the step. */
  readonly key: string
  /** The fencing token of the execution. */
  readonly token: number
  /** A higher token that it may replace. */
  readonly over?: number | undefined
}

/**
 * - `Ran`: the body ran here, and its rows are committed
 * - `Found`: they were committed before, with this result
 * - `Overtaken`: an execution with a higher token has claimed the row, and has not committed. It may be one of the same
 *   run in a journal that was lost.
 */
export type Answer<A> =
  | { readonly _tag: "Ran"; readonly value: A }
  | { readonly _tag: "Found"; readonly result: string }
  | { readonly _tag: "Overtaken"; readonly token: number }

const operation = "Committing a step with rows of the program's database"

interface BodyFailed<E> {
  readonly _tag: "BodyFailed"
  readonly error: E
}

/**
 * Runs the body in a transaction of the program's client, together with a row that holds its result: once for each
 * key. The body answers with its value and the text of its result. Call it in an uninterruptible region and pass the
 * region's `restore`: once it has succeeded, the rows are committed.
 *
 * The row is claimed before the body runs, so a second execution waits for the first one, and does not do its work
 * only to be rolled back. On SQLite the claim makes a reader a writer before the body has read anything.
 */
export const commitOnce = <A, E, R>(
  given: Claim,
  body: Effect.Effect<readonly [value: A, result: string], E, R>,
  restore: Restore
): Effect.Effect<Answer<A>, E | StorageError, R> =>
  Effect.flatMap(restore(usable), ({ client, dialect }) => {
    const { claim, complete } = statements[dialect]
    const claimed = restore(claim(given))
    const marked = Effect.mapError(restore(body), (error): BodyFailed<E> => ({ _tag: "BodyFailed", error }))
    const run = Effect.flatMap(marked, ([value, result]) =>
      Effect.as(complete(given, result), { _tag: "Ran", value } as const)
    )
    const whole = Effect.flatMap(
      claimed,
      (known): Effect.Effect<Answer<A>, BodyFailed<E> | StorageError, R> =>
        known === undefined ? run : Effect.succeed(known)
    )
    return Effect.catchAllCause(
      inTransaction(client, operation, whole, restore),
      (cause): Effect.Effect<Answer<A>, E | StorageError> => {
        const unmarked = Effect.failCause(
          Cause.map(cause, (error) => (error._tag === "BodyFailed" ? error.error : error))
        )
        const failure = Option.getOrUndefined(Cause.failureOption(cause))
        if (failure?._tag !== "BodyFailed") return unmarked
        // Claims it again, without the body: a process that was paused past its lease cannot commit what failed here.
        return Effect.flatMap(inTransaction(client, operation, claimed, restore), (known) =>
          known === undefined ? unmarked : Effect.succeed(known)
        )
      }
    )
  })

/** The client in the environment, with its table. */
const usable: Effect.Effect<{ readonly client: ProgramClient; readonly dialect: Dialect }, StorageError> =
  Effect.flatMap(programClient(operation), (client) => {
    const dialect = dialectOf(client)
    return dialect === undefined
      ? Effect.fail(refused(operation, unknown))
      : Effect.as(ensureTable(client, dialect), { client, dialect })
  })

const unknown = "Step.once knows SQLite and Postgres, and the SqlClient has another dialect"

/** In a transaction of its own. */
const alone = <A>(client: ProgramClient, what: string, self: Effect.Effect<A, StorageError>) =>
  Effect.uninterruptibleMask((restore) => inTransaction(client, what, restore(self), restore))

const withTable = new WeakSet<object>()

/** Looks first: a program that may not create tables may have made it by a migration. */
const ensureTable = (client: ProgramClient, dialect: Dialect): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => {
    if (withTable.has(client)) return Effect.void
    const rows = alone(client, operation, statement(operation, catalog[dialect], []))
    const look = Effect.map(rows, ({ length }) => length > 0)
    const create = alone(client, creating, statement(creating, onceTable, []))
    // Of two first starts on Postgres one may fail, although the table is there then.
    const made = Effect.catchAll(create, (error) => Effect.filterOrFail(look, identity, () => error))
    return Effect.map(
      Effect.flatMap(look, (isThere) => (isThere ? Effect.void : made)),
      () => void withTable.add(client)
    )
  })

const creating = "Creating the table effect_recovery_once, which a migration of yours may do instead (Step.onceTable)"

/** A row if the table is there. */
const catalog: Readonly<Record<Dialect, string>> = {
  sqlite: "SELECT 1 AS found FROM sqlite_master WHERE name = 'effect_recovery_once'",
  pg: "SELECT 1 AS found WHERE to_regclass('effect_recovery_once') IS NOT NULL"
}

/** The statements with the placeholders of a dialect. */
const statementsOf = (text: (sql: string) => string) => {
  const texts = {
    claim: text(`
      INSERT INTO effect_recovery_once AS known (key, token, at) VALUES (?, ?, ?)
      ON CONFLICT (key) DO UPDATE SET token = excluded.token, at = excluded.at
      WHERE known.result IS NULL AND (known.token <= excluded.token OR known.token = ?)
      RETURNING key`),
    find: text("SELECT result, token FROM effect_recovery_once WHERE key = ?"),
    complete: text(`
      UPDATE effect_recovery_once SET result = ?, at = ?
      WHERE key = ? AND token = ? AND result IS NULL
      RETURNING key`),
    remove: text(`
      DELETE FROM effect_recovery_once
      WHERE key IN (SELECT key FROM effect_recovery_once WHERE at < ? LIMIT ${page})
      RETURNING key`)
  }
  return {
    /** Claims the row for this token. Answers with what stands against it. Waits for a transaction that has claimed it. */
    claim: Effect.fnUntraced(function* ({ key, over = -1, token }: Claim) {
      const now = yield* Clock.currentTimeMillis
      if ((yield* statement(operation, texts.claim, [key, token, now, over])).length > 0) return undefined
      // The columns of our own table. Postgres gives large numbers as text.
      const [row] = (yield* statement(operation, texts.find, [key])) as ReadonlyArray<{
        readonly result: string | null
        readonly token: number | string
      }>
      return typeof row?.result === "string"
        ? ({ _tag: "Found", result: row.result } as const)
        : ({ _tag: "Overtaken", token: Number(row?.token) } as const)
    }),
    /** Last, so that it fails if the transaction has ended or was aborted, and nothing of it would be committed. */
    complete: Effect.fnUntraced(function* ({ key, token }: Claim, result: string) {
      const now = yield* Clock.currentTimeMillis
      const rows = yield* statement(operation, texts.complete, [result, now, key, token])
      // SQLite rolls back by itself on some errors.
      if (rows.length === 0) yield* new StorageError({ reason: "Aborted", operation, cause: rolledBack })
    }),
    remove: (before: number) => statement("Removing rows of Step.once", texts.remove, [before])
  }
}

const rolledBack = new Error("the database has rolled the transaction of the step back")

/** How many rows are removed in one transaction, so that other writers get their turn. */
const page = 500

const statements = {
  sqlite: statementsOf((sql) => sql),
  pg: statementsOf((sql) => {
    let count = 0
    return sql.replaceAll("?", () => `$${++count}`)
  })
}

/** Removes the rows written before this, in epoch milliseconds, and returns how many. */
export const removeOnce = (before: number): Effect.Effect<number, StorageError> =>
  Effect.flatMap(usable, ({ client, dialect }) => {
    const removed = alone(client, "Removing rows of Step.once", statements[dialect].remove(before))
    const pages: Effect.Effect<number, StorageError> = Effect.flatMap(removed, ({ length }) =>
      length < page ? Effect.succeed(length) : Effect.map(pages, (more) => length + more)
    )
    return pages
  })
