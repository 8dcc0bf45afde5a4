import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { read } from "../../resilience/Foreign.js"
import { liveClock, steadyMillis } from "../../resilience/internal/kernel/timer.js"
import { crc32 } from "../checksum.js"
import { watchedDriver } from "../silence.js"
import { codeOf } from "./errors.js"

/**
 * Statements that the server keeps parsed and planned: that takes it as long as the statement itself. The stock client
 * names no statements, so they are sent to its driver. Each connection has its own.
 */

/** What is used of a connection of the driver. */
interface Driver {
  readonly query: (
    config: { readonly name: string; readonly text: string; readonly values: ReadonlyArray<unknown> },
    callback: (error: Error | null | undefined, result: { readonly rows: ReadonlyArray<object> }) => void
  ) => void
  readonly connection: {
    /** The texts of the statements that it knows, by their names. */
    readonly parsedStatements: Record<string, string>
    readonly close: (statement: { readonly type: "S"; readonly name: string }) => void
  }
}

const driverOf = (pg: object): Driver | undefined => {
  const connection = read(pg, "connection")
  const isKnown =
    typeof read(pg, "query") === "function" &&
    typeof read(connection, "close") === "function" &&
    typeof read(connection, "parsedStatements") === "object"
  // Checked by the lines before.
  return isKnown ? (pg as Driver) : undefined
}

/** When each statement of a connection was planned, by its name. */
const planned = new WeakMap<Driver, Map<string, number>>()

/**
 * How long a plan is kept, in milliseconds. A plan that was made while a table was small reads all of it, and the server
 * makes another one only when it has counted the rows of the table again, after minutes or never.
 */
const planMillis = 5_000

/** Forgets a plan that is old. The message that says so goes to the server with the next statement. */
const renewPlan = (driver: Driver, name: string, millis: number): void => {
  const times = planned.get(driver) ?? new Map<string, number>()
  planned.set(driver, times)
  const now = steadyMillis(liveClock)
  const since = times.get(name)
  if (since !== undefined && now - since < millis) return
  times.set(name, now)
  const { parsedStatements } = driver.connection
  if (parsedStatements[name] === undefined) return
  driver.connection.close({ type: "S", name })
  delete parsedStatements[name]
}

/** The same text has the same name in each process, since a pooler may give their connections to each other. */
const nameOf = (text: string): string => `recovery_${crc32(text) >>> 0}_${text.length}`

/** A pooler has given the transaction to a connection of the server that does not know the statement, or knows it from before. */
const isUnknownName = (error: unknown): boolean => codeOf(error) === "26000" || codeOf(error) === "42P05"

/** A migration has changed the type of a column that the statement returns. */
const isOutdated = (error: unknown): boolean => codeOf(error) === "0A000"

/**
 * Executes statements outside of transactions under their names. From the first one on whose name the server refuses,
 * all of them are executed without names.
 */
export const makePrepared = (millis: number = planMillis) => {
  const names = new Map<string, string>()
  let isUsed = true
  return (
    connection: Connection,
    text: string,
    values: ReadonlyArray<unknown>
  ): Effect.Effect<ReadonlyArray<object>, SqlError> => {
    const plain = () => connection.execute(text, values, undefined)
    const watched = isUsed ? watchedDriver(connection) : undefined
    const driver = watched === undefined ? undefined : driverOf(watched.pg)
    if (watched === undefined || driver === undefined) return plain()
    const name = names.get(text) ?? nameOf(text)
    names.set(text, name)
    const named = Effect.async<ReadonlyArray<object>, SqlError>((resume) => {
      renewPlan(driver, name, millis)
      driver.query({ name, text, values }, (error, result) =>
        resume(
          error === null || error === undefined
            ? Effect.succeed(result.rows)
            : Effect.fail(new SqlError({ cause: error, message: "Failed to execute statement" }))
        )
      )
    })
    // The server refuses both before it executes anything.
    return Effect.catchAll(watched.answered(named), (error) => {
      if (isOutdated(error)) planned.get(driver)?.delete(name)
      else if (isUnknownName(error)) isUsed = false
      else return Effect.fail(error)
      return plain()
    })
  }
}
