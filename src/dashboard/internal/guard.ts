import * as HttpApp from "@effect/platform/HttpApp"
import type { RouteNotFound } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"

/** In bytes. */
const maxBodySize = 1024 * 1024

/** Allows only the page's own scripts, styles and images, and no framing. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
].join("; ")

const headers = {
  "cache-control": "no-store",
  "content-security-policy": contentSecurityPolicy,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY"
}

const refusal = (status: number, _tag: string, message: string) =>
  HttpServerResponse.unsafeJson({ _tag, tag: _tag, message }, { status })

/** Against DNS rebinding: the owner of any other host name can make it point to this server. */
const isAllowedHost = (name: string, allowed: ReadonlyArray<string>): boolean =>
  name === "localhost" || /^\d{1,3}(?:\.\d{1,3}){3}$/.test(name) || name.startsWith("[") || allowed.includes(name)

const hostOf = (url: string): URL | undefined => {
  try {
    return new URL(url)
  } catch {
    return undefined
  }
}

type Request = HttpServerRequest.HttpServerRequest

const refuseHost = ({ headers }: Request, allowed: ReadonlyArray<string>) => {
  const host = hostOf(`http://${headers.host ?? ""}`)
  return host !== undefined && isAllowedHost(host.hostname, allowed)
    ? undefined
    : refusal(
        403,
        "Forbidden",
        "The dashboard does not accept this host name. Name it with --allow-host or the option hosts."
      )
}

/** Against cross-site requests: browsers send `Origin` with a POST, other programs need not. */
const refuseOrigin = ({ headers }: Request) => {
  const { host, origin } = headers
  const isSameOrigin = origin === undefined || hostOf(origin)?.host === hostOf(`http://${host}`)?.host
  return isSameOrigin ? undefined : refusal(403, "Forbidden", "Pages of other origins must not send actions.")
}

/** Reads the body before the router does, so that only JSON of a limited size reaches it. */
const refuseBody = (request: Request) => {
  const { "content-length": length, "content-type": type = "" } = request.headers
  if (!/^application\/json\b/i.test(type)) {
    return Effect.succeed(refusal(415, "UnsupportedMediaType", "The content type must be application/json."))
  }
  // Without the header, the size of the body would be known only after reading it.
  if (length === undefined)
    return Effect.succeed(refusal(411, "LengthRequired", "The header content-length is missing."))
  if (Number(length) > maxBodySize) {
    return Effect.succeed(refusal(413, "BodyTooLarge", `The body must not be larger than ${maxBodySize} bytes.`))
  }
  return Effect.match(request.text, {
    onFailure: () => malformed,
    onSuccess: (text) => (isJson(text) ? undefined : malformed)
  })
}

const malformed = refusal(400, "MalformedBody", "The body is not valid JSON.")

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Navigation to the page is allowed from other sites, requests from their scripts are not. */
const refuseSite = ({ headers }: Request) => {
  const { "sec-fetch-mode": mode, "sec-fetch-site": site = "none" } = headers
  return mode === "navigate" || site === "same-origin" || site === "none"
    ? undefined
    : refusal(403, "Forbidden", "Pages of other sites must not send requests.")
}

const isReading = ({ method }: Request): boolean => method === "GET" || method === "HEAD"

/** Checks host, origin and body of each request before the router handles it, and adds security headers. */
export const guard = (hosts: ReadonlyArray<string>) => {
  const allowed = hosts.map((name) => hostOf(`http://${name}`)?.hostname ?? name)
  return (app: HttpApp.Default<RouteNotFound>): HttpApp.Default =>
    Effect.gen(function* () {
      // A pre-response handler also adds the headers to responses made from errors.
      yield* HttpApp.appendPreResponseHandler((_, response) =>
        Effect.succeed(HttpServerResponse.setHeaders(response, headers))
      )
      const request = yield* HttpServerRequest.HttpServerRequest
      const refused =
        refuseHost(request, allowed) ??
        refuseSite(request) ??
        (isReading(request) ? undefined : (refuseOrigin(request) ?? (yield* refuseBody(request))))
      return refused ?? (yield* app)
    }).pipe(Effect.catchTag("RouteNotFound", () => Effect.succeed(refusal(404, "NotFound", "There is no such path."))))
}
