/**
 * Webhooks in the form of [Standard Webhooks](https://www.standardwebhooks.com):
 * the signature covers the id, the time and the body, so a message cannot be
 * altered, and cannot be replayed later.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Redacted from "effect/Redacted"
import * as Fault from "../resilience/Fault.js"
import { messageOf, safely } from "../resilience/Foreign.js"
import { checkOption, checkTimeout, millis } from "../resilience/internal/kernel/options.js"
import * as Recovery from "../resilience/Recovery.js"
import type { AttemptTimeout } from "../resilience/RecoveryError.js"
import { redactText } from "../resilience/Redaction.js"
import * as RetryPolicy from "../resilience/RetryPolicy.js"

/**
 * A secret that sender and receiver share: `whsec_` and 24 to 64 bytes in Base64.
 *
 * @since 0.1.0
 * @category models
 */
export type Secret = Redacted.Redacted<string>

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * An `http` or `https` address. A user and password in it become the header
   * `authorization`. Logs and errors show its origin alone, since a path may be a
   * secret.
   */
  readonly url: string | Redacted.Redacted<string>
  /**
   * Signs each message. While a secret is replaced, pass the new one and the old
   * one: the message has a signature by each. Defaults to none: the message is
   * not signed.
   */
  readonly secret?: Secret | ReadonlyArray<Secret> | undefined
  /** The time limit of each attempt, at least 1 millisecond. Defaults to 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * When to try again. Defaults to `RetryPolicy.byCategory()`, which waits as long
   * as `Retry-After` says, up to its `maxDelay`.
   */
  readonly retry?: RetryPolicy.RetryPolicy | undefined
}

/**
 * The server answered with an error status. The statuses 408, 425, 429 and those
 * from 500 are retried; other ones are not.
 *
 * @since 0.1.0
 * @category errors
 */
export class WebhookRefused extends Data.TaggedError("WebhookRefused")<{
  /** The origin of the address. */
  readonly url: string
  readonly status: number
  /** The header `Retry-After`: seconds or a date. */
  readonly retryAfter: string | undefined
}> {
  /** The classification for policies. */
  get [Fault.declared](): Fault.Declaration {
    return { category: categoryOf(this.status) }
  }
  override get message(): string {
    const cure = isTransient(this.status)
      ? "It may be sent again later"
      : "Correct the address, the secret or the receiver"
    return `The webhook at ${this.url} answered with status ${this.status}. ${cure}.`
  }
}

const isTransient = (status: number): boolean => status >= 500 || status === 408 || status === 425 || status === 429

const categoryOf = (status: number): Fault.Category => {
  if (status === 429) return "rate-limit"
  if (status === 408) return "timeout"
  if (isTransient(status)) return "unavailable"
  if (status === 401 || status === 403) return "permission"
  return status === 404 || status === 410 ? "not-found" : "validation"
}

/**
 * The server answered with a redirect. It is not followed, since the signed
 * message would go to another server, and not retried.
 *
 * @since 0.1.0
 * @category errors
 */
export class WebhookRedirected extends Data.TaggedError("WebhookRedirected")<{
  /** The origin of the address. */
  readonly url: string
  readonly status: number
  /** The origin it redirects to, if the server named one. */
  readonly to: string | undefined
}> {
  /** The classification for policies. */
  get [Fault.declared](): Fault.Declaration {
    return { category: "validation" }
  }
  override get message(): string {
    const to = this.to === undefined ? "" : ` to ${this.to}`
    return `The webhook at ${this.url} redirects${to} (status ${this.status}). Redirects are not followed. Use the new address.`
  }
}

/**
 * The server cannot be reached: its name, the connection or the certificate
 * failed. Retried.
 *
 * @since 0.1.0
 * @category errors
 */
export class WebhookUnreachable extends Data.TaggedError("WebhookUnreachable")<{
  /** The origin of the address. */
  readonly url: string
  readonly cause: unknown
}> {
  /** The classification for policies. */
  get [Fault.declared](): Fault.Declaration {
    return { category: "network" }
  }
  override get message(): string {
    const { cause } = this
    // The message of `fetch` says only that it failed; its cause says why.
    const reason = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause
    return `The webhook at ${this.url} cannot be reached (${redactText(messageOf(reason))}). Check that it runs.`
  }
}

/**
 * @since 0.1.0
 * @category errors
 */
export type WebhookError = WebhookRefused | WebhookRedirected | WebhookUnreachable | AttemptTimeout

/**
 * A message to post. The id stays the same in all attempts, so a receiver can
 * drop what it has already.
 *
 * @since 0.1.0
 * @category models
 */
export interface Message {
  /** Unique to the message, without a full stop. */
  readonly id: string
  /** JSON. */
  readonly body: string
}

const encoder = new TextEncoder()

/** The address without the parts that may be secret. */
const originOf = (url: URL): string => `${url.origin}${url.pathname === "/" && url.search === "" ? "" : "/…"}`

const parseUrl = (given: string): URL => {
  const url = safely(() => new URL(given))
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:"
  // The value may hold a secret.
  checkOption("url", url === undefined ? redactText(given) : originOf(url), isHttp, "an http or https address")
  return url as URL
}

const plain = <A>(value: A | Redacted.Redacted<A>): A => (Redacted.isRedacted(value) ? Redacted.value(value) : value)

interface Key {
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** An invalid secret is refused without showing it. */
const keyOf = (secret: Secret): Key => {
  const text = Redacted.isRedacted(secret) ? Redacted.value(secret) : ""
  const decoded = Encoding.decodeBase64(text.replace(/^whsec_/, ""))
  const isValid = Either.isRight(decoded) && decoded.right.length >= 24 && decoded.right.length <= 64
  checkOption("secret", "<redacted>", isValid, "a Redacted text: whsec_ and 24 to 64 bytes in Base64")
  return { bytes: Uint8Array.from(Either.getOrElse(decoded, () => [])) }
}

const keysOf = (secret: Secret | ReadonlyArray<Secret>): ReadonlyArray<Key> => {
  const all = Redacted.isRedacted(secret) ? [secret] : secret
  return all.map(keyOf)
}

const hmac = { name: "HMAC", hash: "SHA-256" }

const importKey = ({ bytes }: Key, use: "sign" | "verify") =>
  Effect.promise(() => crypto.subtle.importKey("raw", bytes, hmac, false, [use]))

const signed = (id: string, timestamp: string, body: Uint8Array): Uint8Array<ArrayBuffer> => {
  const before = encoder.encode(`${id}.${timestamp}.`)
  const all = new Uint8Array(before.length + body.length)
  all.set(before)
  all.set(body, before.length)
  return all
}

/** The header `webhook-signature`: a signature by each key. */
const sign = (keys: ReadonlyArray<Key>, content: Uint8Array<ArrayBuffer>): Effect.Effect<string> =>
  Effect.map(
    Effect.forEach(keys, (key) =>
      Effect.flatMap(importKey(key, "sign"), (imported) =>
        Effect.promise(() => crypto.subtle.sign(hmac, imported, content))
      )
    ),
    Arr.map((signature) => `v1,${Encoding.encodeBase64(new Uint8Array(signature))}`)
  ).pipe(Effect.map(Arr.join(" ")))

/**
 * Makes a function that posts messages. A wrong address or secret throws
 * `InvalidOption`, so it is found where it is configured.
 *
 * @example
 * ```ts
 * import { Webhook } from "effect-recovery/operate"
 * import { Redacted } from "effect"
 *
 * const notify = Webhook.make({
 *   url: "https://example.org/hooks/recovery",
 *   secret: Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
 * })
 *
 * export const program = notify({ id: "msg_1", body: JSON.stringify({ type: "job.failed" }) })
 * ```
 *
 * @since 0.1.0
 * @category sending
 */
export const make = (options: Options): ((message: Message) => Effect.Effect<void, WebhookError>) => {
  const url = parseUrl(plain(options.url))
  const keys = keysOf(options.secret ?? [])
  const timeout = checkTimeout(options.timeout ?? "10 seconds")
  const retry = options.retry ?? RetryPolicy.byCategory()
  const authorization = authorizationOf(url)
  const target: Target = { href: withoutUser(url), origin: originOf(url) }
  return ({ body, id }) => {
    const once = Effect.gen(function* () {
      // Each attempt has its own time, so that a late one is still accepted.
      const timestamp = String(Math.floor((yield* Clock.currentTimeMillis) / 1_000))
      const signature = keys.length === 0 ? undefined : yield* sign(keys, signed(id, timestamp, encoder.encode(body)))
      yield* post(target, body, {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        ...(signature === undefined ? {} : { "webhook-signature": signature }),
        ...authorization
      })
    })
    return Effect.retry(Recovery.attemptTimeout(once, timeout), retry)
  }
}

/** `fetch` refuses an address with a user. */
const withoutUser = (url: URL): string => {
  const bare = new URL(url)
  bare.username = ""
  bare.password = ""
  return bare.href
}

const authorizationOf = ({ password, username }: URL): Record<string, string> => {
  if (username === "" && password === "") return {}
  const decoded = (text: string) => safely(() => decodeURIComponent(text)) ?? text
  return { authorization: `Basic ${Encoding.encodeBase64(`${decoded(username)}:${decoded(password)}`)}` }
}

interface Target {
  readonly href: string
  readonly origin: string
}

const post = ({ href, origin }: Target, body: string, headers: Record<string, string>) =>
  Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(href, { method: "POST", headers, body, signal, redirect: "manual" })
      // What it says is not read; the connection is free again.
      await response.body?.cancel()
      return response
    },
    catch: (cause) => new WebhookUnreachable({ url: origin, cause })
  }).pipe(
    Effect.flatMap((response): Effect.Effect<void, WebhookRefused | WebhookRedirected> => {
      const { headers, ok, status, type } = response
      if (ok) return Effect.void
      if (type === "opaqueredirect" || (status >= 300 && status < 400)) {
        const location = headers.get("location")
        const to = location === null ? undefined : safely(() => originOf(new URL(location, href)))
        return new WebhookRedirected({ url: origin, status, to })
      }
      return new WebhookRefused({ url: origin, status, retryAfter: headers.get("retry-after") ?? undefined })
    })
  )

/**
 * A received message is not authentic:
 *
 * - `Header`: a header is missing or malformed
 * - `Time`: it was sent longer ago than the tolerance, or later than now
 * - `Signature`: no signature fits the body
 *
 * @since 0.1.0
 * @category errors
 */
export class WebhookInvalid extends Data.TaggedError("WebhookInvalid")<{
  readonly reason: "Header" | "Time" | "Signature"
  readonly message: string
}> {}

/**
 * A received message that is authentic.
 *
 * @since 0.1.0
 * @category models
 */
export interface Verified {
  /** Unique to the message. Drop a message whose id was handled already. */
  readonly id: string
  readonly sentAt: Date
}

/** As of the web, in any runtime. */
interface HeadersObject {
  readonly get: (name: string) => string | null
}

type ReceivedHeaders = HeadersObject | { readonly [name: string]: string | ReadonlyArray<string> | undefined }

/**
 * Verifies a received message, in time that does not depend on the signature.
 * Give the body as it was received: parsing and printing it changes its bytes.
 *
 * @example
 * ```ts
 * import { Webhook } from "effect-recovery/operate"
 * import { Effect, Redacted } from "effect"
 *
 * const secret = Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
 *
 * export const receive = (headers: Record<string, string>, body: string) =>
 *   Effect.map(Webhook.verify({ secret, headers, body }), ({ id }) => `message ${id} is authentic`)
 * ```
 *
 * @since 0.1.0
 * @category receiving
 */
export const verify = (options: {
  /** One or more: a message is authentic if it was signed by one of them. */
  readonly secret: Secret | ReadonlyArray<Secret>
  /** The headers, with names in lower case as Node has them, or a `Headers` object. */
  readonly headers: ReceivedHeaders
  readonly body: string | Uint8Array
  /** How far the time of the message may differ from now, in both directions, at least 1 millisecond. Defaults to 5 minutes. */
  readonly tolerance?: Duration.DurationInput | undefined
}): Effect.Effect<Verified, WebhookInvalid> =>
  Effect.gen(function* () {
    const keys = keysOf(options.secret)
    const tolerance = millis("tolerance", options.tolerance ?? "5 minutes", 1)
    const id = yield* header(options.headers, "webhook-id")
    const timestamp = yield* header(options.headers, "webhook-timestamp")
    const signatures = yield* header(options.headers, "webhook-signature")
    if (!/^\d{1,12}$/.test(timestamp)) return yield* malformed("webhook-timestamp")
    const sentAt = Number(timestamp) * 1_000
    if (Math.abs((yield* Clock.currentTimeMillis) - sentAt) > tolerance) {
      const message = `The message ${id} was sent at ${new Date(sentAt).toISOString()}, which is too far from now. Check the clocks; it may be a replay.`
      return yield* new WebhookInvalid({ reason: "Time", message })
    }
    const body = typeof options.body === "string" ? encoder.encode(options.body) : options.body
    const content = signed(id, timestamp, body)
    const candidates = signatures
      .split(" ")
      .slice(0, maxSignatures)
      .flatMap((signature) => (signature.startsWith("v1,") ? [Encoding.decodeBase64(signature.slice(3))] : []))
    for (const key of keys) {
      const imported = yield* importKey(key, "verify")
      for (const candidate of Arr.getRights(candidates)) {
        const bytes = Uint8Array.from(candidate)
        if (yield* Effect.promise(() => crypto.subtle.verify(hmac, imported, bytes, content))) {
          return { id, sentAt: new Date(sentAt) }
        }
      }
    }
    const message = `No signature of the message ${id} fits its body. Check the secret, and pass the body as it was received.`
    return yield* new WebhookInvalid({ reason: "Signature", message })
  })

/** A sender has one or two secrets; the bound is for a hostile header. */
const maxSignatures = 10

const header = (headers: ReceivedHeaders, name: string) => {
  const found = isHeaders(headers) ? headers.get(name) : headers[name]
  return typeof found === "string" && found !== "" ? Effect.succeed(found) : malformed(name)
}

const isHeaders = (headers: ReceivedHeaders): headers is HeadersObject => typeof headers["get"] === "function"

const malformed = (name: string) =>
  new WebhookInvalid({
    reason: "Header",
    message: `The header ${name} is missing or malformed. Pass all headers of the request.`
  })
