import { createServer } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { Dashboard } from "effect-recovery/dashboard"
import type { Operator } from "effect-recovery/operate"
import { hostRefusal, shownAddress, urlOf } from "../../src/dashboard/ListeningAddress.js"

const operator: Operator.Operator = { ask: () => new Promise(() => {}), close: async () => undefined }

/** Builds a dashboard on a server that listens as the options say, and returns its address. */
const listening = (options: { readonly host?: string }, network?: boolean) =>
  Effect.map(Dashboard.Dashboard, ({ url }) => url).pipe(
    Effect.provide(
      Layer.provide(
        Dashboard.layerOperator(operator, { network }),
        NodeHttpServer.layer(createServer, { ...options, port: 0 })
      )
    ),
    Effect.exit
  )

describe("where a dashboard listens", () => {
  it.live("is this machine alone, unless the network is allowed explicitly", () =>
    Effect.gen(function* () {
      // Node listens on every address if the host is left out or empty.
      for (const options of [{}, { host: "" }, { host: "0.0.0.0" }, { host: "::" }]) {
        const refused = yield* listening(options)
        assert.isTrue(Exit.isFailure(refused), JSON.stringify(options))
        if (Exit.isFailure(refused)) {
          const error = Cause.squash(refused.cause)
          assert.strictEqual(Reflect.get(Object(error), "_tag"), "InvalidOption")
          assert.match(`${error}`, /network.*listen on 127\.0\.0\.1/)
        }
        const allowed = yield* listening(options, true)
        assert.match(`${Exit.getOrElse(allowed, () => "")}`, /^http:\/\/127\.0\.0\.1:\d+$/)
      }
      for (const host of ["127.0.0.1", "localhost", "127.0.0.2"]) {
        assert.isTrue(Exit.isSuccess(yield* listening({ host })), host)
      }
    })
  )

  it("is judged by the address", () => {
    for (const host of ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "localhost"]) {
      assert.isUndefined(hostRefusal(host, false), host)
    }
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "example.org", "0"]) {
      assert.strictEqual(hostRefusal(host, false), "Network", host)
      assert.isUndefined(hostRefusal(host, true), host)
    }
    for (const host of ["", " "]) assert.strictEqual(hostRefusal(host, true), "Empty")
  })

  it("is shown as it is bound, with a link that a browser can open", () => {
    const tcp = (hostname: string) => ({ _tag: "TcpAddress", hostname, port: 80 }) as const
    assert.strictEqual(shownAddress(tcp("127.0.0.1")), "127.0.0.1:80")
    assert.strictEqual(shownAddress(tcp("::1")), "[::1]:80")
    assert.strictEqual(shownAddress(tcp("0.0.0.0")), "0.0.0.0:80 (every address of this machine)")
    assert.strictEqual(urlOf(tcp("0.0.0.0")), "http://127.0.0.1:80")
    assert.strictEqual(urlOf(tcp("::1")), "http://[::1]:80")
  })
})
