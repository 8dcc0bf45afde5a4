/**
 * Runs and journals in the Postgres database of the program, for as many machines
 * as share it. As `SqlStorage`, and more:
 *
 * - runs of a process that died continue after some two seconds, whatever the lease
 * - a signal, a start or an outcome wakes the processes that wait for it at once
 * - leases are renewed on a connection of their own, so that a busy pool does not
 *   delay them
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { isGone, makeOwner } from "../../host/owner.js"
import * as Storage from "../Storage.js"
import type { StorageError } from "../StorageError.js"
import type { AccessOptions, ClientAccess } from "../sql/access.js"
import { makeAccess } from "../sql/clients.js"
import { toStorageError } from "../sql/errors.js"
import { migrate } from "../sql/migrations.js"
import * as SqlStorage from "../sql/SqlStorage.js"
import { makeSqlStore } from "../sql/SqlStore.js"
import { type Direct, sessionConfig } from "./config.js"
import { anyRun, type Hints, makeHints } from "./hints.js"
import { holdLock, type Liveness, makeLiveness, marker, type Place, placeOf, processOf } from "./liveness.js"
import { makeSession, type Query, type Session } from "./session.js"
import { makeSessionClient } from "./sessionClient.js"

export type {
  /**
   * How the connection for leases reaches the server, in the options of `PgClient`.
   *
   * @since 0.1.0
   * @category models
   */
  Direct
} from "./config.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends SqlStorage.Options {
  /**
   * How the connection for leases reaches the server, where it differs from the
   * pool of the client: past a pooler that shares connections between transactions,
   * where neither locks of a session nor LISTEN work. Each option replaces that of
   * the client. Defaults to none.
   */
  readonly direct?: Direct | undefined
}

/**
 * Creates or migrates the tables in the database of the client, beside the
 * program's own, and keeps leases alive. Opens one connection beside the pool. When
 * that one breaks, or the server is restarted, it is opened again; until then
 * operations wait for as long as `patience` says.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Step, Worker, Workflow } from "effect-recovery"
 * import { PgStorage } from "effect-recovery/pg"
 * import { Config, Effect, Layer } from "effect"
 *
 * const Greet = Workflow.make("greet", {}, () => Step.make("say", { run: Effect.log("hello") }))
 *
 * // On as many machines as you like.
 * export const worker = Worker.layer([Greet]).pipe(
 *   Layer.provide(PgStorage.layer()),
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Storage.Storage, StorageError, PgClient.PgClient> =>
  Layer.scoped(
    Storage.Storage,
    Effect.gen(function* () {
      const owner = `${yield* makeOwner}${marker}`
      const store = yield* makeStore(owner, options, "server")
      return yield* Storage.make(store, { owner, lease: options.lease, payloads: options.payloads })
    })
  )

/**
 * The store without the service over it, for `Testing.crashEverywhere` and
 * `Testing.storageContract`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const store = (
  options: SqlStorage.StoreOptions & Pick<Options, "direct"> = {}
): Effect.Effect<Storage.Store, StorageError, PgClient.PgClient | Scope.Scope> =>
  Effect.flatMap(makeOwner, (owner) => makeStore(`${owner}${marker}`, options, options.clock ?? "server"))

// ---- the store

/** Between two looks at the locks of other processes. A process counts as dead after two. */
const beatMillis = 750
/** A connection that gives no answer for this long counts as broken. */
const silenceMillis = 10_000

const makeStore = (process: string, options: Options, clock: AccessOptions["clock"]) =>
  Effect.gen(function* () {
    const client = yield* PgClient.PgClient
    const settings = { ...SqlStorage.settings(options), clock }
    const access = yield* makeAccess(client, settings)
    yield* migrate(access, settings)
    const schema = yield* schemaOf(access)
    const place = placeOf(schema, settings.prefix)
    const { hints, liveness, session } = yield* connect(client, process, options.direct, access, place)
    // The search path of the connection may be another one.
    const sessionClient = yield* makeSessionClient(session)
    const direct = yield* makeSqlStore(yield* makeAccess(sessionClient, { ...settings, schema }), isGone)
    // Processes of this host are judged by the host as well, which knows at once.
    const pooled = yield* makeSqlStore(access, isGone, (parent) => hints.send(parent, true))
    return withHints(pooled, direct, process, { hints, liveness, query: session.query })
  })

/** The schema in which the tables are found. */
const schemaOf = (access: ClientAccess): Effect.Effect<string, StorageError> =>
  Effect.map(
    access.read<{ readonly schema: string }>(
      "Opening the storage",
      "SELECT nspname AS schema FROM pg_class JOIN pg_namespace space ON space.oid = relnamespace WHERE pg_class.oid = to_regclass(?)",
      [access.table("runs")]
    ),
    ([row]) => row?.schema ?? ""
  )

/**
 * Keep-alives are not sent while hints wait for the process to acknowledge them: then the last setting counts, which
 * servers before version 12 do not have.
 */
const keepAlive = `SELECT set_config(name, value, false) FROM pg_settings JOIN (VALUES
    ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '11000')
  ) AS wanted (key, value) ON name = key`

/** Opens the connection of this process: it holds its lock, listens, and looks at the locks of others. */
const connect = (
  client: PgClient.PgClient,
  process: string,
  direct: Direct | undefined,
  access: ClientAccess,
  place: Place
): Effect.Effect<
  { readonly hints: Hints; readonly liveness: Liveness; readonly session: Session },
  StorageError,
  Scope.Scope
> =>
  Effect.gen(function* () {
    // The program's clock is a number, which may stand in the statement itself.
    const now = Effect.map(access.now, ({ params: [given], text }) => (given === undefined ? text : `${given}::bigint`))
    const hints = yield* makeHints(place.channel)
    const liveness = makeLiveness({
      place,
      process,
      leased: { runs: access.table("runs"), locks: access.table("locks"), now },
      graceBeats: 4,
      graceMillis: 500,
      onEnded: (runs) => {
        for (const run of runs) {
          hints.tell({ run, isDue: true })
          hints.send(run, true)
        }
      }
    })
    const session: Session = yield* makeSession({
      config: sessionConfig(client.config, direct),
      // A server notices after some ten seconds that a machine is gone, and frees the locks of its processes.
      prepare: (query) =>
        Effect.zipRight(
          Effect.zipRight(query(keepAlive), holdLock(query, place, process)),
          query(`LISTEN "${place.channel}"`)
        ),
      onNotification: (payload) => hints.receive(payload),
      onReconnect: () => {
        liveness.reset()
        hints.tell({ run: anyRun, isDue: true })
      },
      beatMillis,
      silenceMillis,
      beat: liveness.beat
    }).pipe(Effect.mapError(toStorageError("Opening the connection for leases")))
    yield* hints.sendOver(session.query)
    return { hints, liveness, session }
  })

/** What keeps leases alive goes over the connection of its own. Other processes hear of what changed. */
const withHints = (
  pooled: Storage.Store,
  direct: Storage.Store,
  process: string,
  { hints, liveness, query }: { readonly hints: Hints; readonly liveness: Liveness; readonly query: Query }
): Storage.Store => {
  const sending =
    (isDue: boolean) =>
    <A, E>(self: Effect.Effect<A, E>, run: string, isNews: (value: A) => boolean = () => true) =>
      Effect.map(self, (value) => {
        if (isNews(value)) hints.send(run, isDue)
        return value
      })
  const thenSend = sending(false)
  const thenSendDue = sending(true)
  return {
    ...pooled,
    changes: hints.changes,
    renew: direct.renew,
    controls: direct.controls,
    renewLock: direct.renewLock,
    unlock: direct.unlock,
    release: (owner, run) => thenSendDue(direct.release(owner, run), run ?? anyRun),
    finish: (lease, outcome) => thenSend(pooled.finish(lease, outcome), lease.run),
    enqueue: (request) =>
      // A run that is delayed concerns no other process until it is due.
      thenSendDue(pooled.enqueue(request), request.id, ({ _tag }) => _tag !== "Existing" && (request.delay ?? 0) <= 0),
    hold: (run, hold, from) => thenSend(pooled.hold(run, hold, from), run, ({ _tag }) => _tag === "Held"),
    releaseHold: (run, id) => thenSendDue(pooled.releaseHold(run, id), run, (isReleased) => isReleased),
    cancel: (run, request) => thenSendDue(pooled.cancel(run, request), run, (answer) => answer === "Requested"),
    terminate: (run, outcome) => thenSend(pooled.terminate(run, outcome), run, Option.isSome),
    signal: (run, key, payload) => thenSendDue(pooled.signal(run, key, payload), run, (sent) => sent === "Sent"),
    suspend: (lease, suspension) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        // A run that sleeps concerns no other process until it is due.
        thenSendDue(pooled.suspend(lease, suspension), lease.run, () => suspension.dueAt <= Math.max(lease.since, now))
      ),
    open: (request, owner, leaseMillis) => {
      const open = pooled.open(request, owner, leaseMillis)
      return Effect.flatMap(open, (opened) => {
        const holder = opened._tag === "Leased" ? processOf(opened.run.owner ?? "") : undefined
        if (holder === undefined || holder === process) return Effect.succeed(opened)
        // If that cannot be known now, the lease is in force.
        const isGone = Effect.orElseSucceed(liveness.endIfGone(query, holder), () => false)
        return Effect.flatMap(isGone, (gone) => (gone ? open : Effect.succeed(opened)))
      })
    }
  }
}
