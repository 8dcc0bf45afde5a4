import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { read } from "../resilience/Foreign.js"

/**
 * A network that drops packets leaves connections half-open: the statement on such a connection gets no answer, and the
 * operating system reports that after a quarter of an hour, or never. So the server is asked on another connection what it
 * does with a statement that waits for long. It may take any time while the server works on it. Otherwise its connection is
 * destroyed, and the statement fails as on every connection that breaks.
 *
 * Only the stock client of Postgres has a connection that can be destroyed. Other connections are left as they are.
 */

/** What is used of a connection of an `@effect/sql` client. */
interface Connection {
  readonly executeUnprepared: (
    sql: string,
    params: ReadonlyArray<unknown>,
    transformRows: undefined
  ) => Effect.Effect<ReadonlyArray<unknown>, unknown>
}

interface Client<C extends Connection, E> {
  readonly reserve: Effect.Effect<C, E, Scope.Scope>
}

/** All in milliseconds. */
export interface Timing {
  /** Between two looks at the statements that wait. */
  readonly look: number
  /**
   * From here on the server is asked at each look. A statement that it has nothing to do for at two looks is lost. So
   * is a question without an answer for as long.
   */
  readonly ask: number
  /** The longest silence while the server answers no question either. */
  readonly unreachable: number
  /** The longest silence while a pooler hides which backend has the statement. */
  readonly unknown: number
}

const usual: Timing = { look: 2_500, ask: 5_000, unreachable: 30_000, unknown: 300_000 }

/** What is used of the driver's connection in the stock client's. */
interface Driver {
  readonly pid: number
  readonly destroy: (error: Error) => void
}

const drivers = new WeakMap<object, Driver>()

const driverOf = (connection: object): Driver | undefined => {
  const pg = (connection as { readonly pg?: object }).pg
  return typeof pg === "object" && pg !== null ? (drivers.get(pg) ?? newDriver(pg)) : undefined
}

const newDriver = (pg: object): Driver | undefined => {
  const pid = read(pg, "processID")
  const stream = () => read(read(pg, "connection"), "stream")
  if (typeof pid !== "number" || typeof read(stream(), "destroy") !== "function") return undefined
  // Checked by the line before. TLS replaces the stream.
  const destroy: Driver["destroy"] = (error) => (stream() as { readonly destroy: Driver["destroy"] }).destroy(error)
  const driver: Driver = { pid, destroy }
  drivers.set(pg, driver)
  return driver
}

/** A statement without an answer. */
interface Waiting {
  readonly driver: Driver
  readonly isQuestion: boolean
  /** When it was sent, or was last known to be worked on. */
  since: number
  /** How often the server said that it has nothing to do for it. */
  idle: number
  isHidden: boolean
}

const states = `SELECT pid, pid = pg_backend_pid() AS mine, state, wait_event_type AS "waitsFor"
  FROM pg_stat_activity WHERE pid = ANY ($1::int[])`

/** What the server does for the statement on a backend. `hidden` if its number is not that of a backend, or its state is not shown. */
const activityOf = (rows: ReadonlyArray<unknown>, pid: number): "idle" | "working" | "hidden" => {
  // A pooler gives its own numbers to its clients.
  if (!rows.some((row) => read(row, "mine") === true)) return "hidden"
  const row = rows.find((one) => Number(read(one, "pid")) === pid)
  if (row === undefined) return "idle"
  const state = String(read(row, "state"))
  if (state.startsWith("idle")) return "idle"
  // It waits for the rest of the statement, or for the program to take the answer.
  if (state === "active") return read(row, "waitsFor") === "Client" ? "idle" : "working"
  return "hidden"
}

const silent = (millis: number): Error =>
  Object.assign(
    new Error(
      `Connection terminated: the server gave no answer for ${Math.round(millis / 1_000)} s on this connection`
    ),
    { code: "ETIMEDOUT" }
  )

type Statement<A = unknown> = (sql: string, params: ReadonlyArray<unknown>, transformRows: unknown) => A

/** A connection of the stock client of Postgres. */
interface StockConnection {
  readonly pg: object
  readonly execute: Statement<Effect.Effect<unknown, unknown>>
  readonly executeRaw: Statement<Effect.Effect<unknown, unknown>>
  readonly executeUnprepared: Statement<Effect.Effect<unknown, unknown>>
  readonly executeValues: Statement<Effect.Effect<unknown, unknown>>
  readonly executeStream: Statement
}

/** Watches a statement. */
type Answered = <A, E>(self: Effect.Effect<A, E>) => Effect.Effect<A, E>

/** Watches the statements of a connection, except those whose rows are a stream. */
class WatchedConnection implements StockConnection {
  readonly pg: object
  private readonly connection: StockConnection
  readonly answered: Answered
  /** It is no wrapper of one, which would inherit the driver's connection. */
  readonly isStock: boolean

  constructor(connection: StockConnection, answered: Answered) {
    this.pg = connection.pg
    this.isStock = Object.hasOwn(connection, "pg")
    this.connection = connection
    this.answered = answered
  }

  execute(...[sql, params, transformRows]: Parameters<Statement>) {
    return this.answered(this.connection.execute(sql, params, transformRows))
  }
  executeRaw(...[sql, params, transformRows]: Parameters<Statement>) {
    return this.answered(this.connection.executeRaw(sql, params, transformRows))
  }
  executeUnprepared(...[sql, params, transformRows]: Parameters<Statement>) {
    return this.answered(this.connection.executeUnprepared(sql, params, transformRows))
  }
  executeValues(...[sql, params, transformRows]: Parameters<Statement>) {
    return this.answered(this.connection.executeValues(sql, params, transformRows))
  }
  executeStream(...[sql, params, transformRows]: Parameters<Statement>) {
    return this.connection.executeStream(sql, params, transformRows)
  }
}

class Watch<C extends Connection, E> {
  private readonly waiting = new Set<Waiting>()
  private timer: unknown
  private isAsking = false
  private readonly client: Client<C, E>
  private readonly timing: Timing

  constructor(client: Client<C, E>, timing: Timing) {
    this.client = client
    this.timing = timing
  }

  /** Reserves a connection whose statements are watched. */
  get reserve(): Effect.Effect<C, E, Scope.Scope> {
    return Effect.map(this.client.reserve, (connection) => {
      const driver = driverOf(connection)
      return driver === undefined ? connection : this.watched(connection, driver)
    })
  }

  private watched(connection: C, driver: Driver): C {
    // What has a driver is a connection of the stock client, and the other one has the same methods.
    const stock = connection as unknown as StockConnection
    return new WatchedConnection(stock, (self) => this.answered(driver, self)) as unknown as C
  }

  private answered<A, E2>(driver: Driver, self: Effect.Effect<A, E2>, isQuestion = false): Effect.Effect<A, E2> {
    return Effect.suspend(() => {
      const one: Waiting = { driver, isQuestion, since: performance.now(), idle: 0, isHidden: false }
      this.waiting.add(one)
      if (this.timer === undefined) this.lookLater()
      return Effect.onExit(self, () => {
        this.waiting.delete(one)
        return Effect.void
      })
    })
  }

  /** One timer for all statements. It does not keep a process alive. */
  private lookLater(): void {
    const due = performance.now() + this.timing.look
    const timer: unknown = setTimeout(() => {
      this.timer = undefined
      if (this.waiting.size === 0) return
      // A look may send a question, which is a statement that waits.
      this.lookLater()
      this.look(due)
    }, this.timing.look)
    this.timer = timer
    // A browser has numbers for timers.
    if (typeof read(timer, "unref") === "function") (timer as { readonly unref: () => void }).unref()
  }

  private look(due: number): void {
    const { ask, unknown, unreachable } = this.timing
    const now = performance.now()
    if (now - due > ask) {
      // This process stood still: answers may lie in its sockets.
      for (const one of this.waiting) one.since = now
      return
    }
    const late = [...this.waiting].filter(({ since }) => now - since >= ask)
    for (const { driver, isHidden, isQuestion, since } of late) {
      const limit = isQuestion ? ask : isHidden ? unknown : unreachable
      if (now - since >= limit) driver.destroy(silent(now - since))
    }
    const asked = late.filter(({ isQuestion }) => !isQuestion)
    if (asked.length > 0 && !this.isAsking) this.ask(asked)
  }

  /** In the background. */
  private ask(late: ReadonlyArray<Waiting>): void {
    this.isAsking = true
    const question = Effect.flatMap(this.client.reserve, (connection) => {
      const own = driverOf(connection)
      if (own === undefined) return Effect.void
      const pids = [own, ...late.map(({ driver }) => driver)].map(({ pid }) => pid)
      const answer = this.answered(own, connection.executeUnprepared(states, [pids], undefined), true)
      return Effect.map(answer, (rows) => {
        for (const one of late) this.hear(one, activityOf(rows, one.driver.pid))
      })
    })
    const end = Effect.sync(() => {
      this.isAsking = false
    })
    // What the client fails with is no answer.
    const asked = Effect.catchAllCause(Effect.scoped(question), () => Effect.void)
    Effect.runFork(Effect.ensuring(Effect.uninterruptible(asked), end))
  }

  private hear(one: Waiting, activity: ReturnType<typeof activityOf>): void {
    if (!this.waiting.has(one)) return
    const now = performance.now()
    one.isHidden = activity === "hidden"
    one.idle = activity === "idle" ? one.idle + 1 : 0
    if (activity === "working") one.since = now
    if (one.idle >= 2) one.driver.destroy(silent(now - one.since))
  }
}

/**
 * The driver's connection, for what the stock client does not offer, and what watches its statements. None of a
 * connection that a program has wrapped: its statements must pass the wrapper.
 */
export const watchedDriver = (connection: object): { readonly pg: object; readonly answered: Answered } | undefined =>
  connection instanceof WatchedConnection && connection.isStock ? connection : undefined

const watches = new WeakMap<object, unknown>()

/** Reserves a connection of the client, as the client does. Its statements fail once the server has forgotten them. */
export const reserveWatched = <C extends Connection, E>(
  client: Client<C, E>,
  timing: Timing = usual
): Effect.Effect<C, E, Scope.Scope> => {
  const known = watches.get(client)
  // One watch belongs to each client, and has its types.
  const watch = known instanceof Watch ? (known as Watch<C, E>) : new Watch(client, timing)
  watches.set(client, watch)
  return watch.reserve
}
