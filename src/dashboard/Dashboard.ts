/**
 * Serves a page, an HTTP API and metrics that show failures, recoveries and
 * runs, and act on them.
 *
 * @since 0.1.0
 */
import * as crypto from "node:crypto"
import type * as Etag from "@effect/platform/Etag"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import type * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Insights from "../operate/Insights.js"
import * as Operator from "../operate/Operator.js"
import type * as RecoveryManager from "../operate/RecoveryManager.js"
import { InvalidOption } from "../resilience/InvalidOption.js"
import type * as Storage from "../storage/Storage.js"
import { Actor, DashboardApi, Reader } from "./DashboardApi.js"
import { Forbidden, Unauthorized } from "./DashboardError.js"
import { assets } from "./internal/assets.js"
import { guard } from "./internal/guard.js"
import { actions, metrics, reads } from "./internal/handlers.js"
import { pageFolder } from "./internal/pageFolder.js"
import { hostRefusal, urlOf } from "./ListeningAddress.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Who holds it may read and act. Defaults to a new random token at each start. */
  readonly token?: Redacted.Redacted<string> | undefined
  /** `open`: every client that reaches the server may read without the token. Defaults to `token`. */
  readonly reads?: "token" | "open" | undefined
  /** Refuses all actions, for a copy of a database. Defaults to false. */
  readonly readonly?: boolean | undefined
  /** Host names under which the server accepts requests, beside `localhost` and IP addresses. Defaults to none. */
  readonly hosts?: ReadonlyArray<string> | undefined
  /**
   * Allows a server that other machines reach: without TLS in front, the token travels in plain text. Defaults to
   * false: the layer dies with `InvalidOption` if the server listens beyond this machine, as it does without a host.
   */
  readonly network?: boolean | undefined
  /** A description of the storage that the page shows, such as a file name. */
  readonly where?: string | undefined
  /**
   * The folder of the page's files.
   *
   * @internal
   */
  readonly page?: URL | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly url: string
  readonly token: Redacted.Redacted<string>
  /** Opens the page with the token in the fragment, which browsers do not send to servers. */
  readonly link: Redacted.Redacted<string>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Dashboard extends Context.Tag("effect-recovery/Dashboard")<Dashboard, Service>() {}

/** `NodeHttpServer.layer` provides all of them. */
type Platform = HttpServer.HttpServer | HttpPlatform.HttpPlatform | Etag.Generator | FileSystem.FileSystem | Path.Path

/**
 * Serves the dashboard of an operator, such as the one that a
 * `recovery.config.ts` exports.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerOperator = (
  operator: Operator.Operator,
  options: Options = {}
): Layer.Layer<Dashboard, never, Platform> => {
  const { hosts = [], page = pageFolder, readonly = false, where } = options
  const { network = false } = options
  const token = options.token ?? makeToken()
  const handlers = Layer.mergeAll(reads(operator, { readonly, where }), actions(operator), metrics(operator))
  const api = HttpApiBuilder.api(DashboardApi).pipe(
    Layer.provide(Layer.provide(handlers, access(token, options.reads === "open", readonly)))
  )
  const server = HttpApiBuilder.serve().pipe(
    Layer.provide(HttpApiBuilder.middleware(guard(hosts))),
    Layer.provide(HttpApiBuilder.middlewareOpenApi({ path: "/openapi.json" })),
    Layer.provide(assets(page)),
    Layer.provide(api),
    // The router's own limit is 100 characters, and comparing without case shifts ids such as "İ", which lower case makes longer.
    Layer.provide(HttpRouter.setRouterConfig({ maxParamLength: Number.MAX_SAFE_INTEGER, caseSensitive: true }))
  )
  const service = Layer.effect(
    Dashboard,
    Effect.map(HttpServer.HttpServer, ({ address }): Service => {
      if (address._tag === "TcpAddress") checkHost(address.hostname, network)
      const url = urlOf(address)
      return { url, token, link: Redacted.make(`${url}/#token=${encodeURIComponent(Redacted.value(token))}`) }
    })
  )
  return Layer.merge(service, server)
}

/**
 * Serves the dashboard of the running program's own storage.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { Dashboard } from "effect-recovery/dashboard"
 * import { Insights, RecoveryManager } from "effect-recovery/operate"
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { Effect, Layer } from "effect"
 * import { createServer } from "node:http"
 *
 * const recovery = Layer.merge(Insights.layer, RecoveryManager.layer({})).pipe(Layer.provideMerge(Storage.layerMemory))
 * const server = NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })
 *
 * const program = Effect.map(Dashboard.Dashboard, ({ url }) => url.startsWith("http://127.0.0.1:"))
 *
 * program.pipe(
 *   Effect.provide(Dashboard.layer().pipe(Layer.provide([recovery, server]))),
 *   Effect.runPromise
 * ).then(console.log) // true
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Dashboard, never, Platform | RecoveryManager.RecoveryManager | Insights.Insights | Storage.Storage> =>
  Layer.unwrapEffect(Effect.map(Operator.make, (operator) => layerOperator(operator, options)))

const checkHost = (host: string, network: boolean): void => {
  if (hostRefusal(host, network) === undefined) return
  const expected = `true if other machines may reach ${host}, or let the server listen on 127.0.0.1`
  throw new InvalidOption({ option: "network", value: network, expected })
}

const makeToken = (): Redacted.Redacted<string> => Redacted.make(crypto.randomBytes(24).toString("base64url"))

const digestOf = (token: Redacted.Redacted<string>): Buffer =>
  crypto.createHash("sha256").update(Redacted.value(token)).digest()

/** Reads need the token unless they are open; actions always need it. */
const access = (token: Redacted.Redacted<string>, isOpen: boolean, readonly: boolean) => {
  const expected = digestOf(token)
  // Digests of equal length, compared in constant time, so that timing reveals nothing about the token.
  const isRight = (given: Redacted.Redacted<string>) => crypto.timingSafeEqual(expected, digestOf(given))
  const demand = (given: Redacted.Redacted<string>) =>
    // An empty token is refused even if the configured one is empty.
    Redacted.value(given) !== "" && isRight(given)
      ? Effect.void
      : new Unauthorized({
          tag: "Unauthorized",
          message:
            "The token is missing or wrong. Open the link that recovery dashboard --web prints. A program has it in Dashboard.link."
        })
  const refuse = new Forbidden({ tag: "Forbidden", message: "This dashboard is read-only." })
  return Layer.merge(
    Layer.succeed(Reader, Reader.of({ token: (given) => (isOpen ? Effect.void : demand(given)) })),
    Layer.succeed(
      Actor,
      Actor.of({ token: (given) => Effect.zipRight(demand(given), readonly ? refuse : Effect.void) })
    )
  )
}
