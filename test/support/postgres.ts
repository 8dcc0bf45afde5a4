import * as net from "node:net"
import { text } from "node:stream/consumers"
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as PgClient from "@effect/sql-pg/PgClient"
import { PGlite } from "@electric-sql/pglite"
import { PGLiteSocketServer } from "@electric-sql/pglite-socket"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { afterAll, beforeAll, describe, inject } from "vitest"
import { type Address, PostgresServer, programs, query } from "./postgresServer.js"

export type { Address, Ending, PostgresServer } from "./postgresServer.js"

/** A database of one test file. */
export interface Database {
  readonly address: Address
  /** A client of the program, which is no superuser and owns the database. Several are as many processes. */
  readonly client: (options?: PgClient.PgClientConfig) => Layer.Layer<PgClient.PgClient | SqlClient, SqlError>
  /** Runs a statement as the superuser, on a connection of its own. */
  readonly query: (
    text: string,
    values?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Record<string, unknown>>>
}

/** A database of a real server, whose faults a test can cause. */
export interface ServedDatabase extends Database {
  /** Ends the connections of this database, or those with this application name. Returns how many. */
  readonly endBackends: (application?: string) => Effect.Effect<number>
  /** Allows the program this many connections; -1 for any number. */
  readonly limitConnections: (count: number) => Effect.Effect<void>
  /** Makes transactions of new connections read-only, or not. */
  readonly readOnly: (value: boolean) => Effect.Effect<void>
}

const user = "program"

/** The shared server: it starts when the first test file asks. */
const sharedAddress = async (): Promise<Address> => {
  const answer: Address | { readonly error: string } = JSON.parse(await text(net.connect(inject("postgres"))))
  if ("error" in answer) throw new Error(answer.error)
  return answer
}

/** The address is known when the tests run. */
const databaseOf = (address: () => Address, run: Database["query"], maxConnections?: number): Database => ({
  get address() {
    return address()
  },
  client: (options) =>
    Layer.suspend(() => {
      const { database, host, port, user } = address()
      return PgClient.layer({ host, port, database, username: user, maxConnections, ...options })
    }),
  query: run
})

const servedDatabase = (admin: () => Address, name: string): ServedDatabase => {
  const run: Database["query"] = (text, values) =>
    Effect.promise(() => query({ ...admin(), database: name }, text, values))
  const faults: Omit<ServedDatabase, keyof Database> = {
    endBackends: (application) =>
      Effect.map(
        run(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = $1 AND pid <> pg_backend_pid() AND ($2::text IS NULL OR application_name = $2)`,
          [name, application ?? null]
        ),
        (rows) => rows.length
      ),
    limitConnections: (count) => Effect.asVoid(run(`ALTER DATABASE ${name} CONNECTION LIMIT ${count}`)),
    readOnly: (value) =>
      // A database that takes no writes takes this in a transaction that does.
      Effect.asVoid(
        run(
          `BEGIN READ WRITE; ALTER DATABASE ${name} SET default_transaction_read_only = ${value ? "on" : "off"}; COMMIT`
        )
      )
  }
  return Object.assign(
    databaseOf(() => ({ ...admin(), user, database: name }), run),
    faults
  )
}

const createDatabase = async (admin: Address, name: string): Promise<void> => {
  // Files that start at once may each create the role: the second one finds it.
  await query(admin, `CREATE ROLE ${user} LOGIN`).catch((error) => {
    if (!/already exists|pg_authid_rolname_index/.test(`${error}`)) throw error
  })
  await query(admin, `CREATE DATABASE ${name} OWNER ${user} TEMPLATE template0`)
}

let databases = 0

const newName = () => `test_${process.pid}_${++databases}`

/** Why there is no server, as a part of a title; `undefined` if there is one. */
export const noServer: string | undefined =
  process.env["TEST_POSTGRES"] === "pglite"
    ? "skipped: TEST_POSTGRES is pglite"
    : programs() === undefined
      ? "skipped: no Postgres server was found; install postgresql, or set PG_BIN"
      : undefined

/** Tests on a fresh database of the server that all files share. Skipped, with the reason, where there is none. */
export const inPostgres = (title: string, tests: (database: ServedDatabase) => void): void => {
  if (noServer !== undefined) {
    describe.skip(`${title} (${noServer})`, () => tests(unserved))
    return
  }
  describe(title, () => {
    const name = newName()
    let admin: Address | undefined
    beforeAll(async () => {
      admin = await sharedAddress()
      await createDatabase(admin, name)
    })
    afterAll(async () => {
      if (admin !== undefined) await query(admin, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    })
    tests(servedDatabase(() => required(admin), name))
  })
}

/** Tests with a server of their own, which they may stop and start. Skipped, with the reason, where there is none. */
export const inOwnPostgres = (
  title: string,
  tests: (database: ServedDatabase, server: () => PostgresServer) => void
): void => {
  if (noServer !== undefined) {
    describe.skip(`${title} (${noServer})`, () => tests(unserved, () => required<PostgresServer>(undefined)))
    return
  }
  describe(title, () => {
    const name = newName()
    let server: PostgresServer | undefined
    beforeAll(async () => {
      server = await PostgresServer.start()
      await createDatabase(server.address, name)
    })
    afterAll(() => server?.close())
    tests(
      servedDatabase(() => required(server).address, name),
      () => required(server)
    )
  })
}

/**
 * Tests on PGlite behind its socket: Postgres in this process, without an installation. It has one session for all
 * connections and mixes their messages, so pools have one. `Database.query` runs beside it.
 */
export const inPglite = (title: string, tests: (database: Database) => void): void => {
  describe(title, () => {
    let database: PGlite | undefined
    let server: PGLiteSocketServer | undefined
    let address: Address | undefined
    beforeAll(async () => {
      database = await PGlite.create()
      // One that is being closed may still be there when the next one is opened.
      server = new PGLiteSocketServer({ db: database, host: "127.0.0.1", port: 0, maxConnections: 100 })
      await server.start()
      const port = Number(server.getServerConn().split(":").at(-1))
      address = { host: "127.0.0.1", port, user: "postgres", database: "postgres" }
    })
    afterAll(async () => {
      await server?.stop()
      await database?.close()
    })
    const run: Database["query"] = (text, values = []) =>
      Effect.promise(async () => (await required(database).query<Record<string, unknown>>(text, [...values])).rows)
    tests(databaseOf(() => required(address), run, 1))
  })
}

/** Tests on the shared server or, where there is none, on PGlite. They use one connection at a time. */
export const inAnyPostgres = (title: string, tests: (database: Database) => void): void =>
  noServer === undefined ? inPostgres(title, tests) : inPglite(`${title} on PGlite`, tests)

const required = <A>(value: A | undefined): A => {
  if (value === undefined) throw new Error("A database exists only while its tests run")
  return value
}

const unserved: ServedDatabase = servedDatabase(() => required<Address>(undefined), "none")
