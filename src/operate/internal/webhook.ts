import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fault from "../../resilience/Fault.js"
import * as Recovery from "../../resilience/Recovery.js"
import * as RetryPolicy from "../../resilience/RetryPolicy.js"

/** The server answered with an error status. `Fault` classifies by it whether a retry can help. */
class WebhookRefused extends Data.TaggedError("WebhookRefused")<{
  readonly url: string
  readonly status: number
}> {
  override get message(): string {
    return `The webhook ${this.url} answered with status ${this.status}`
  }
}

class WebhookUnreachable extends Data.TaggedError("WebhookUnreachable")<{
  readonly url: string
  readonly cause: unknown
}> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
  override get message(): string {
    return `The webhook ${this.url} cannot be reached`
  }
}

const encoder = new TextEncoder()

const hex = (bytes: ArrayBuffer): string =>
  [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("")

/** HMAC-SHA256 of the UTF-8 body, in hexadecimal. */
const sign = (secret: string, body: string): Effect.Effect<string> =>
  Effect.promise(async () => {
    const algorithm = { name: "HMAC", hash: "SHA-256" }
    const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["sign"])
    return hex(await crypto.subtle.sign("HMAC", key, encoder.encode(body)))
  })

export interface Post {
  readonly url: string
  readonly body: string
  readonly secret: string | undefined
  readonly timeout: Duration.Duration
}

/** Posts the body. Retries by the category of each error, so a status such as 401 is not retried. */
export const post = ({ body, secret, timeout, url }: Post) =>
  Effect.gen(function* () {
    const headers: Record<string, string> = { "content-type": "application/json" }
    if (secret !== undefined) headers["x-recovery-signature"] = `sha256=${yield* sign(secret, body)}`
    const once = Effect.tryPromise({
      try: (signal) => fetch(url, { method: "POST", headers, body, signal, redirect: "error" }),
      catch: (cause) => new WebhookUnreachable({ url, cause })
    }).pipe(
      Effect.filterOrFail(
        ({ ok }) => ok,
        ({ status }) => new WebhookRefused({ url, status })
      ),
      Effect.asVoid,
      Recovery.attemptTimeout(timeout)
    )
    yield* Effect.retry(once, RetryPolicy.byCategory())
  })
