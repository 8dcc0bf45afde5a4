import { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Pg from "pg"
import { warning } from "../../resilience/internal/kernel/logged.js"
import { liveClock } from "../../resilience/internal/kernel/timer.js"
import * as RetryPolicy from "../../resilience/RetryPolicy.js"

/** Runs one statement. */
export type Query = <R extends object>(
  text: string,
  values?: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<R>, SqlError>

/** One connection outside of any pool, which is opened again whenever it breaks. */
export interface Session {
  /** Fails while the connection is broken. */
  readonly query: Query
  /** As `query`, with the result as the driver returns it. */
  readonly raw: (text: string, values: ReadonlyArray<unknown>) => Effect.Effect<Pg.QueryResult, SqlError>
  /** Its one permit is for callers whose statements belong together: no statement of another one runs between them. */
  readonly turns: Effect.Semaphore
}

export interface SessionOptions {
  readonly config: Pg.ClientConfig
  /** Runs on each new connection before anything else. Its failure and its silence close the connection. */
  readonly prepare: (query: Query) => Effect.Effect<void, SqlError>
  /** Something was sent to a channel that the connection listens to, by another connection. */
  readonly onNotification: (payload: string) => void
  /** The connection is open again. What was sent meanwhile is lost. */
  readonly onReconnect: () => void
  /** How often the connection is tried, and how long a connection may stay without an answer, in milliseconds. */
  readonly beatMillis: number
  readonly silenceMillis: number
  /** What is done at each beat. Its failures and its silence break the connection. */
  readonly beat: (query: Query) => Effect.Effect<void, SqlError>
}

/** A connection, and what ends it. */
interface Opened {
  readonly client: Pg.Client
  readonly broken: Deferred.Deferred<void>
}

const notConnected = new SqlError({
  message: "The connection for leases is being opened again",
  cause: Object.assign(new Error("Connection terminated, it is being opened again"), { code: "08003" })
})

const silent = new SqlError({
  message: "The server gives no answer on the connection for leases",
  cause: Object.assign(new Error("Connection terminated, the server gave no answer"), { code: "ETIMEDOUT" })
})

const closed = new SqlError({
  message: "The scope of the storage layer has closed",
  cause: new Error("The database connection is not open")
})

const again = RetryPolicy.exponential({
  maxRetries: Number.POSITIVE_INFINITY,
  initialDelay: 20,
  maxDelay: 500,
  jitter: "equal"
})

/**
 * Opens the connection, and again whenever it breaks, until the scope closes. A
 * connection may break without a word, so it is tried at each beat. All times are
 * the platform's: the server is not part of the program's time.
 */
export const makeSession = (options: SessionOptions): Effect.Effect<Session, SqlError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const turns = yield* Effect.makeSemaphore(1)
      let current: Opened | undefined
      let isClosed = false
      const statements = yield* Effect.makeSemaphore(1)
      // One statement at a time, for the driver queues none. In the background: a caller that is interrupted does not end it.
      const onCurrent = <A>(use: (opened: Opened) => Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
        Effect.suspend(() =>
          current === undefined ? Effect.fail(isClosed ? closed : notConnected) : use(current)
        ).pipe(statements.withPermits(1), Effect.uninterruptible, Effect.disconnect)
      const session: Session = {
        query: (text, values) => onCurrent(({ client }) => queryOn(client)(text, values)),
        raw: (text, values) => onCurrent(({ client }) => rawOn(client, text, values)),
        turns
      }
      const beat = Effect.timeoutFail(turns.withPermits(1)(options.beat(session.query)), {
        duration: options.silenceMillis,
        onTimeout: () => silent
      })
      const beats = Effect.forever(Effect.zipRight(beat, Effect.sleep(options.beatMillis)))
      const use = (opened: Opened) => {
        current = opened
        const broken = Effect.raceFirst(Deferred.await(opened.broken), Effect.ignore(beats))
        const closed = Effect.suspend(() => {
          current = undefined
          return close(opened)
        })
        return Effect.ensuring(Effect.interruptible(broken), closed)
      }
      const useNext = Effect.flatMap(Effect.interruptible(reopen(options)), (opened) => {
        const used = use(opened)
        options.onReconnect()
        return used
      })
      const first = yield* Effect.withClock(restore(open(options)), liveClock)
      const keep = Effect.zipRight(use(first), Effect.forever(useNext))
      const fiber = yield* Effect.forkDaemon(Effect.withClock(keep, liveClock))
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          isClosed = true
          return Fiber.interrupt(fiber)
        })
      )
      return session
    })
  )

/** Each outage is logged once, with its first cause. */
const reopen = (options: SessionOptions): Effect.Effect<Opened> =>
  Effect.suspend(() => {
    let isLogged = false
    return open(options).pipe(
      Effect.tapErrorCause((cause) => {
        if (isLogged || Cause.isInterruptedOnly(cause)) return Effect.void
        isLogged = true
        return warning("the connection for leases broke, and cannot be opened again yet", cause)
      }),
      Effect.retry(again),
      // The schedule has no end.
      Effect.orDie
    )
  })

const open = ({ config, onNotification, prepare, silenceMillis }: SessionOptions): Effect.Effect<Opened, SqlError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const broken = yield* Deferred.make<void>()
      const client = yield* restore(connect(config, broken, onNotification))
      const opened = { client, broken }
      const prepared = Effect.timeoutFail(prepare(queryOn(client)), {
        duration: silenceMillis,
        onTimeout: () => silent
      })
      yield* Effect.onError(restore(prepared), () => close(opened))
      return opened
    })
  )

const connect = (
  config: Pg.ClientConfig,
  broken: Deferred.Deferred<void>,
  onNotification: (payload: string) => void
): Effect.Effect<Pg.Client, SqlError> =>
  Effect.async((resume) => {
    const client = new Pg.Client(config)
    const end = () => Deferred.unsafeDone(broken, Effect.void)
    // An error without a listener would end the process.
    client.on("error", end)
    client.on("end", end)
    client.on("notification", ({ payload, processId }) => {
      // What this connection sent is known already.
      if (payload !== undefined && processId !== processIdOf(client)) onNotification(payload)
    })
    client.connect((error: Error | null) => {
      if (error === null || error === undefined) return resume(Effect.succeed(client))
      void client.end().catch(() => {})
      resume(Effect.fail(new SqlError({ cause: error, message: "Failed to connect" })))
    })
    return Effect.sync(() => void client.end().catch(() => {}))
  })

/** The driver has it, and its types do not. */
const processIdOf = (client: Pg.Client & { readonly processID?: number }): number | undefined => client.processID

/** The server may not answer any more. With a statement under way the driver does not wait for it. */
const close = ({ client }: Opened): Effect.Effect<void> =>
  Effect.promise(() => client.end().catch(() => {})).pipe(
    Effect.interruptible,
    Effect.timeoutOption("1 second"),
    Effect.withClock(liveClock),
    Effect.asVoid
  )

const rawOn = (
  client: Pg.Client,
  text: string,
  values: ReadonlyArray<unknown>
): Effect.Effect<Pg.QueryResult, SqlError> =>
  Effect.async((resume) => {
    client.query(text, [...values], (error, result) =>
      resume(
        error === null || error === undefined
          ? Effect.succeed(result)
          : Effect.fail(new SqlError({ cause: error, message: "Failed to execute statement" }))
      )
    )
  })

const queryOn =
  (client: Pg.Client): Query =>
  <R extends object>(text: string, values: ReadonlyArray<unknown> = []) =>
    // The statement says which columns it returns.
    Effect.map(rawOn(client, text, values), ({ rows }) => rows as ReadonlyArray<R>)
