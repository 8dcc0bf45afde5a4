import * as crypto from "node:crypto"
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import { RetryPolicy } from "effect-recovery"
import { Webhook } from "effect-recovery/operate"
import { assertBetween, assertTagged } from "../support/assertions.js"
import { receiver } from "../support/receiver.js"
import { passTime } from "../support/time.js"

const key = crypto.createHash("sha256").update("key").digest()
const secret = Redacted.make(`whsec_${key.toString("base64")}`)
const older = Redacted.make(`whsec_${crypto.createHash("sha256").update("older").digest("base64")}`)

const message = { id: "msg_1", body: '{"text":"grün"}' }

/** The signature as the specification says, by Node's own functions. */
const signatureOf = (id: string, timestamp: string, body: string) =>
  `v1,${crypto.createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`

describe("Webhook.make", () => {
  it.scoped("signs id, time and body in the form of Standard Webhooks", () =>
    Effect.gen(function* () {
      const { requests, url } = yield* receiver([])
      yield* TestClock.setTime(1_700_000_000_500)
      yield* Webhook.make({ url, secret: [secret, older] })(message)
      const [request] = requests
      assert.isDefined(request)
      assert.strictEqual(request.body, message.body)
      assert.strictEqual(request.headers["webhook-id"], "msg_1")
      assert.strictEqual(request.headers["webhook-timestamp"], "1700000000")
      const [signature, second] = (request.headers["webhook-signature"] ?? "").split(" ")
      assert.strictEqual(signature, signatureOf("msg_1", "1700000000", message.body))
      assert.match(second ?? "", /^v1,/)
      const { body, headers } = request
      // Each of the secrets verifies it.
      for (const one of [secret, older]) yield* Webhook.verify({ secret: one, headers, body: Buffer.from(body) })
      assert.strictEqual(request.headers["content-type"], "application/json")
    })
  )

  /** Posts with a policy that retries at once what it may retry, and counts the attempts. */
  const attempts = (status: number, headers: Record<string, string> = {}) =>
    Effect.gen(function* () {
      const { requests, url } = yield* receiver([{ status, headers }])
      const again = RetryPolicy.fixed({ maxRetries: 3, delay: 0, maxDelay: 0 })
      const categories = ["timeout", "rate-limit", "unavailable", "network"]
      const retry = RetryPolicy.byCategory(Object.fromEntries(categories.map((category) => [category, again])))
      const result = yield* Effect.either(Webhook.make({ url, retry })(message))
      return { attempts: requests.length, result, ids: new Set(requests.map(({ headers }) => headers["webhook-id"])) }
    })

  it.scopedLive.each([408, 425, 429, 500, 502, 503, 504])(
    "sends the message again after status %i, with its id",
    (status) =>
      Effect.gen(function* () {
        const { attempts: sent, ids, result } = yield* attempts(status)
        assert.strictEqual(result._tag, "Right")
        assert.strictEqual(sent, 2)
        assert.strictEqual(ids.size, 1)
      })
  )

  it.scopedLive.each([400, 401, 403, 404, 409, 410, 413, 422])(
    "does not send the message again after status %i",
    (status) =>
      Effect.gen(function* () {
        const { attempts: sent, result } = yield* attempts(status)
        assert.strictEqual(sent, 1)
        assertTagged(yield* Effect.flip(result), "WebhookRefused", { status })
      })
  )

  it.scopedLive.each([301, 302, 303, 307, 308])("does not follow a redirect with status %i", (status) =>
    Effect.gen(function* () {
      const other = yield* receiver([])
      const location = `http://127.0.0.1:${other.port}/new?token=t`
      const { attempts: sent, result } = yield* attempts(status, { location })
      assert.strictEqual(sent, 1)
      assert.strictEqual(other.requests.length, 0)
      const error = yield* Effect.flip(result)
      assertTagged(error, "WebhookRedirected", { status, to: `http://127.0.0.1:${other.port}/…` })
      assert.notInclude(error.message, "token")
    })
  )

  it.scoped.each([
    ["seconds", "120", "1 second", 120],
    ["a date", new Date(90_000).toUTCString(), "1 second", 90],
    ["longer than the policy waits", "86400", "1 minute", 300]
  ] as const)("waits as long as Retry-After says: %s", ([, retryAfter, step, expected]) =>
    Effect.gen(function* () {
      const { requests, url } = yield* receiver([{ status: 503, headers: { "retry-after": retryAfter } }])
      yield* passTime(yield* Effect.fork(Webhook.make({ url, timeout: "1 hour" })(message)), step)
      const [first, second] = requests.map(({ headers }) => Number(headers["webhook-timestamp"]))
      // Time passes while the first answer is on its way.
      assertBetween((second ?? 0) - (first ?? 0), expected, expected + 120)
    })
  )

  it.scopedLive("tells a server that cannot be reached from one that is too slow", () =>
    Effect.gen(function* () {
      const retry = RetryPolicy.none
      const gone = yield* Effect.flip(Webhook.make({ url: "http://user:pw@127.0.0.1:1/secret/path", retry })(message))
      assertTagged(gone, "WebhookUnreachable", { url: "http://127.0.0.1:1/…" })
      assert.match(gone.message, /ECONNREFUSED|bad port/)
      const { url } = yield* silent
      const slow = yield* Effect.flip(Webhook.make({ url, retry, timeout: "50 millis" })(message))
      assertTagged(slow, "AttemptTimeout")
    })
  )

  it.scopedLive("sends the user and password of the address as a header", () =>
    Effect.gen(function* () {
      const { port, requests } = yield* receiver([])
      yield* Webhook.make({ url: Redacted.make(`http://ada:p%40ss@127.0.0.1:${port}/`) })(message)
      assert.strictEqual(requests[0]?.headers["authorization"], `Basic ${Buffer.from("ada:p@ss").toString("base64")}`)
      assert.isUndefined(requests[0]?.headers["webhook-signature"])
    })
  )

  it("refuses a wrong address and a wrong secret where they are configured, without showing them", () => {
    const url = "https://example.org"
    assert.throws(
      () => Webhook.make({ url: "example.org/hooks" }),
      /"url" is example.org\/hooks; give an http or https/
    )
    assert.throws(() => Webhook.make({ url: "ftp://ada:pw@example.org/x" }), /^(?!.*pw).*http or https/)
    assert.throws(() => Webhook.make({ url: "" }), /"url"/)
    for (const wrong of ["", "whsec_", "whsec_c2hvcnQ=", "not base64 !", `whsec_${"A".repeat(200)}`]) {
      assert.throws(
        () => Webhook.make({ url, secret: Redacted.make(wrong) }),
        /"secret" is <redacted>; give a Redacted text/
      )
    }
  })
})

/** A server that accepts connections and never answers. */
const silent = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<net.Socket>()
      const server = net.createServer((socket) => void sockets.add(socket))
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return { server, sockets }
    }),
    ({ server, sockets }) =>
      Effect.promise(
        () =>
          new Promise<void>((resolve) => {
            server.close(() => resolve())
            for (const socket of sockets) socket.destroy()
          })
      )
  ),
  ({ server }) => ({ url: `http://127.0.0.1:${(server.address() as { readonly port: number }).port}/` })
)

describe("Webhook.verify", () => {
  const timestamp = "1700000000"
  const headers = {
    "webhook-id": "msg_1",
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,AAAA v2,x ${signatureOf("msg_1", timestamp, message.body)}`
  }
  const verify = (changes: Partial<Parameters<typeof Webhook.verify>[0]> = {}) =>
    Webhook.verify({ secret, headers, body: message.body, ...changes })
  const at = <A, E>(millis: number, effect: Effect.Effect<A, E>) =>
    Effect.zipRight(TestClock.setTime(1_700_000_000_000 + millis), effect)
  const reasonOf = (changes: Parameters<typeof verify>[0]) =>
    Effect.map(Effect.flip(verify(changes)), ({ reason }) => reason)

  it.effect("accepts an authentic message once within five minutes of its time", () =>
    Effect.gen(function* () {
      const verified = yield* at(0, verify())
      assert.deepStrictEqual(verified, { id: "msg_1", sentAt: new Date(1_700_000_000_000) })
      yield* at(-300_000, verify())
      yield* at(300_000, verify({ headers: new Headers(headers) }))
      assert.strictEqual(yield* at(300_001, reasonOf({})), "Time")
      assert.strictEqual(yield* at(-300_001, reasonOf({})), "Time")
      yield* at(3_600_000, verify({ tolerance: "1 hour" }))
    })
  )

  it.effect("refuses a message that was altered", () =>
    Effect.gen(function* () {
      yield* at(0, Effect.void)
      assert.strictEqual(yield* reasonOf({ body: `${message.body} ` }), "Signature")
      assert.strictEqual(yield* reasonOf({ secret: older }), "Signature")
      assert.strictEqual(yield* reasonOf({ headers: { ...headers, "webhook-id": "msg_2" } }), "Signature")
      assert.strictEqual(yield* reasonOf({ headers: { ...headers, "webhook-timestamp": "1700000001" } }), "Signature")
      assert.strictEqual(yield* reasonOf({ headers: { ...headers, "webhook-signature": "v1,!!!" } }), "Signature")
      for (const name of Object.keys(headers)) {
        assert.strictEqual(yield* reasonOf({ headers: { ...headers, [name]: undefined } }), "Header")
      }
      assert.strictEqual(yield* reasonOf({ headers: { ...headers, "webhook-timestamp": "now" } }), "Header")
    })
  )
})
