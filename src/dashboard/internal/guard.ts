import * as HttpApp from "@effect/platform/HttpApp"
import type { RouteNotFound } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"

/** Nothing an operator sends is longer. */
const longestBody = 1024 * 1024

/** Scripts and styles are the page's own files; nothing else is loaded, and nobody may frame it. */
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

/** By a number, or as this machine calls itself: a name from outside may be made to lead here by anybody who owns it. */
const isOwnName = (name: string, allowed: ReadonlyArray<string>): boolean =>
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
  return host !== undefined && isOwnName(host.hostname, allowed)
    ? undefined
    : refusal(403, "Forbidden", "The dashboard is not to be reached by this name.")
}

/** A browser says whose page it is that asks; other programs say nothing. */
const refuseOrigin = ({ headers }: Request) => {
  const { host, origin } = headers
  const isOwn = origin === undefined || hostOf(origin)?.host === hostOf(`http://${host}`)?.host
  return isOwn ? undefined : refusal(403, "Forbidden", "Another page may not act here.")
}

/** It is read here, so that what comes behind it gets JSON of a fair size or is not asked. */
const refuseBody = (request: Request) => {
  const { "content-length": length, "content-type": type = "" } = request.headers
  if (!/^application\/json\b/i.test(type)) {
    return Effect.succeed(refusal(415, "UnsupportedMediaType", "A body must be application/json."))
  }
  // Without it, how long a body is shows only when it is too long to be answered.
  if (length === undefined) return Effect.succeed(refusal(411, "LengthRequired", "Say how long the body is."))
  if (Number(length) > longestBody) {
    return Effect.succeed(refusal(413, "BodyTooLarge", `A body may have ${longestBody} bytes.`))
  }
  return Effect.match(request.text, {
    onFailure: () => malformed,
    onSuccess: (text) => (isJson(text) ? undefined : malformed)
  })
}

const malformed = refusal(400, "MalformedBody", "The body is not JSON.")

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Following a link is nobody's attack; asking from inside of another page may be. */
const refuseSite = ({ headers }: Request) => {
  const { "sec-fetch-mode": mode, "sec-fetch-site": site = "none" } = headers
  return mode === "navigate" || site === "same-origin" || site === "none"
    ? undefined
    : refusal(403, "Forbidden", "Another page may not ask here.")
}

const isReading = ({ method }: Request): boolean => method === "GET" || method === "HEAD"

/** Before anything is done: whose request it is, and whether it is of a size and form to be looked at. */
export const guard = (hosts: ReadonlyArray<string>) => {
  const allowed = hosts.map((name) => hostOf(`http://${name}`)?.hostname ?? name)
  return (app: HttpApp.Default<RouteNotFound>): HttpApp.Default =>
    Effect.gen(function* () {
      // Also on what is made further out of an error.
      yield* HttpApp.appendPreResponseHandler((_, response) =>
        Effect.succeed(HttpServerResponse.setHeaders(response, headers))
      )
      const request = yield* HttpServerRequest.HttpServerRequest
      const refused =
        refuseHost(request, allowed) ??
        refuseSite(request) ??
        (isReading(request) ? undefined : (refuseOrigin(request) ?? (yield* refuseBody(request))))
      return refused ?? (yield* app)
    }).pipe(Effect.catchTag("RouteNotFound", () => Effect.succeed(refusal(404, "NotFound", "There is nothing here."))))
}
