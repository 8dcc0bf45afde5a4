import { createServer } from "node:http"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Dashboard from "../../dashboard/Dashboard.js"
import { hostRefusal, shownAddress } from "../../dashboard/ListeningAddress.js"
import { messageOf, readString } from "../../resilience/Foreign.js"
import { type Common, open } from "../ask.js"
import { ended } from "../exit.js"
import { usage } from "../options.js"

export interface Web {
  readonly host: string
  readonly port: number
  readonly openReads: boolean
  readonly names: ReadonlyArray<string>
}

/** The bundled command line lies beside the folder `dashboard`. */
const page = new URL("./dashboard/page/", import.meta.url)

const cannotListen =
  ({ host, port }: Web) =>
  ({ cause }: { readonly cause: unknown }) => {
    const isPort = ["EADDRINUSE", "EACCES"].includes(readString(cause, "code") ?? "")
    const advice = isPort ? "With --port 0 it takes a free port." : "Name an address of this machine with --host."
    return ended(
      "Refused",
      `The dashboard cannot listen on ${host}:${port}: ${messageOf(cause)}. ${advice}`,
      "CannotListen"
    )
  }

/** To name an address that other machines reach is to allow it; an empty one is none. */
const refuseEmptyHost = ({ host }: Web) =>
  hostRefusal(host, true) === undefined
    ? Effect.void
    : usage("--host is empty. Name an address, such as 127.0.0.1, or 0.0.0.0 for every address of this machine.")

/** A fixed token lets other programs, such as a Prometheus server, read the metrics. */
const tokenOf = (): Redacted.Redacted<string> | undefined => {
  const given = process.env.RECOVERY_DASHBOARD_TOKEN
  return given === undefined || given === "" ? undefined : Redacted.make(given)
}

/** In bytes: room for the longest id, of 4,096 characters, in an address. */
const maxHeaderSize = 64 * 1024

/** A server whose `close` does not wait for idle connections. */
const closingServer = () => {
  const server = createServer({ maxHeaderSize })
  const close = server.close.bind(server)
  return Object.assign(server, {
    close: (done?: (error?: Error) => void) => {
      close(done)
      // Time for responses in progress, in milliseconds.
      setTimeout(() => server.closeAllConnections(), 200).unref()
      return server
    }
  })
}

/** Serves the page until it is interrupted. */
export const web = (given: Common, options: Web) =>
  Effect.gen(function* () {
    yield* refuseEmptyHost(options)
    const { operator, where } = yield* open(given)
    const { host, names, openReads, port } = options
    const layer = Dashboard.layerOperator(operator, {
      token: tokenOf(),
      reads: openReads ? "open" : "token",
      readonly: given.readonly,
      hosts: names,
      network: true,
      where,
      page
    })
    const server = NodeHttpServer.layer(closingServer, { host, port })
    const context = yield* Effect.mapError(Layer.build(Layer.provideMerge(layer, server)), cannotListen(options))
    const { link, token, url } = Context.get(context, Dashboard.Dashboard)
    const address = shownAddress(Context.get(context, HttpServer.HttpServer).address)
    yield* given.json
      ? Console.log(JSON.stringify({ url, token: Redacted.value(token), where, address }))
      : Console.log(
          `The dashboard of ${where} listens on ${address}:\n\n  ${Redacted.value(link)}\n\nThe link contains the token, which allows reading and acting.`
        )
    return yield* Effect.never
  }).pipe(Effect.scoped)
