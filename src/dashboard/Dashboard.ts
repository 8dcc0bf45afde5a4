/**
 * A page to see how failures, recoveries and runs stand, and to do something
 * about them; with an API for programs, and metrics for Prometheus.
 *
 * @since 0.1.0
 */
import type * as Etag from "@effect/platform/Etag"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpServer from "@effect/platform/HttpServer"
import type * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Insights from "../operate/Insights.js"
import * as Operator from "../operate/Operator.js"
import type * as RecoveryManager from "../operate/RecoveryManager.js"
import type * as Storage from "../storage/Storage.js"
import { Actor, DashboardApi, Reader } from "./DashboardApi.js"
import { Forbidden, Unauthorized } from "./DashboardError.js"
import { assets } from "./internal/assets.js"
import { guard } from "./internal/guard.js"
import { actions, metrics, reads } from "./internal/handlers.js"
import { isToken, makeToken } from "./internal/token.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Who has it may act, and read. Made up at each start, if it is left out. */
  readonly token?: Redacted.Redacted<string> | undefined
  /** `open`: whoever reaches the server may read. Defaults to `token`. */
  readonly reads?: "token" | "open" | undefined
  /** Nobody may act, for a copy of a database. Defaults to false. */
  readonly readonly?: boolean | undefined
  /** By which names it may be reached, beside `localhost` and numbers. */
  readonly hosts?: ReadonlyArray<string> | undefined
  /** Which storage it is, in words, for the page. */
  readonly where?: string | undefined
  /**
   * Where the files of the page are.
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
  /** Opens the page with the token, which a browser sends to nobody. */
  readonly link: Redacted.Redacted<string>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Dashboard extends Context.Tag("effect-recovery/Dashboard")<Dashboard, Service>() {}

/** The server, and what a platform has: `NodeHttpServer.layer` gives all of it. */
type Platform = HttpServer.HttpServer | HttpPlatform.HttpPlatform | Etag.Generator | FileSystem.FileSystem | Path.Path

/**
 * Serves the dashboard of an operator, such as a `recovery.config.ts` exports.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerOperator = (
  operator: Operator.Operator,
  options: Options = {}
): Layer.Layer<Dashboard, never, Platform> => {
  const { hosts = [], page = new URL("./page/", import.meta.url), readonly = false, where } = options
  const token = options.token ?? makeToken()
  const handlers = Layer.mergeAll(reads(operator, { readonly, where }), actions(operator), metrics(operator))
  const api = HttpApiBuilder.api(DashboardApi).pipe(
    Layer.provide(Layer.provide(handlers, access(token, options.reads === "open", readonly)))
  )
  const server = HttpApiBuilder.serve().pipe(
    Layer.provide(HttpApiBuilder.middleware(guard(hosts))),
    Layer.provide(HttpApiBuilder.middlewareOpenApi({ path: "/openapi.json" })),
    Layer.provide(assets(page)),
    Layer.provide(api)
  )
  const service = Layer.effect(
    Dashboard,
    Effect.map(HttpServer.HttpServer, ({ address }): Service => {
      const url = urlOf(address)
      return { url, token, link: Redacted.make(`${url}/#token=${encodeURIComponent(Redacted.value(token))}`) }
    })
  )
  return Layer.merge(service, server)
}

/**
 * Serves the dashboard of a program's own failures, recoveries and runs.
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

/** Reads need the token unless they are open, actions always. */
const access = (token: Redacted.Redacted<string>, isOpen: boolean, readonly: boolean) => {
  const isRight = isToken(token)
  const demand = (given: Redacted.Redacted<string>) =>
    // Who says nothing has not said the right thing, even if that is nothing.
    Redacted.value(given) !== "" && isRight(given)
      ? Effect.void
      : new Unauthorized({
          tag: "Unauthorized",
          message: "The token is missing or another one: it is printed at start."
        })
  const refuse = new Forbidden({ tag: "Forbidden", message: "This dashboard is only to be looked at." })
  return Layer.merge(
    Layer.succeed(Reader, Reader.of({ token: (given) => (isOpen ? Effect.void : demand(given)) })),
    Layer.succeed(
      Actor,
      Actor.of({ token: (given) => Effect.zipRight(demand(given), readonly ? refuse : Effect.void) })
    )
  )
}

const urlOf = (address: HttpServer.Address): string => {
  if (address._tag === "UnixAddress") return `unix:${address.path}`
  const { hostname, port } = address
  const host = hostname === "0.0.0.0" || hostname === "::" ? "127.0.0.1" : hostname
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`
}
