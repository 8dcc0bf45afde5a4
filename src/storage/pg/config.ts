import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import * as Pg from "pg"

/**
 * How the connection for leases reaches the server, in the options of `PgClient`.
 *
 * @since 0.1.0
 * @category models
 */
export type Direct = Pick<
  PgClientConfig,
  | "url"
  | "host"
  | "port"
  | "database"
  | "username"
  | "password"
  | "ssl"
  | "stream"
  | "connectTimeout"
  | "applicationName"
>

/** What the driver makes of a URL. */
const partsOf = (connectionString: string): Pg.ClientConfig => {
  const { database, host, password, port, ssl, user } = new Pg.Client({ connectionString })
  return { database, host, password: password ?? undefined, port, ssl, user }
}

const optionsOf = ({ connectTimeout, database, host, password, port, ssl, stream, username }: Direct) => ({
  ...(host === undefined ? {} : { host }),
  ...(port === undefined ? {} : { port }),
  ...(database === undefined ? {} : { database }),
  ...(username === undefined ? {} : { user: username }),
  ...(password === undefined ? {} : { password: Redacted.value(password) }),
  ...(ssl === undefined ? {} : { ssl }),
  ...(stream === undefined ? {} : { stream }),
  ...(connectTimeout === undefined ? {} : { connectionTimeoutMillis: Duration.toMillis(connectTimeout) })
})

/** That of the client of the program, except for what is given. In the driver a URL overrides all other options. */
export const sessionConfig = (client: PgClientConfig, direct: Direct = {}): Pg.ClientConfig => {
  const own = optionsOf(direct)
  const url = direct.url ?? client.url
  const connectionString = url === undefined ? undefined : Redacted.value(url)
  return {
    connectionTimeoutMillis: 10_000,
    ...optionsOf(client),
    ...(connectionString === undefined
      ? {}
      : Object.keys(own).length === 0
        ? { connectionString }
        : partsOf(connectionString)),
    ...own,
    application_name: direct.applicationName ?? `${client.applicationName ?? "effect-recovery"} (leases)`,
    keepAlive: true
  }
}
