import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"

const files = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/page.js": ["page.js", "text/javascript; charset=utf-8"],
  "/page.css": ["page.css", "text/css; charset=utf-8"],
  "/icon.svg": ["icon.svg", "image/svg+xml"]
} as const

/** Serves the page's files without the token: they hold no data. */
export const assets = (folder: URL) =>
  HttpApiBuilder.Router.use((router) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const directory = yield* Effect.orDie(path.fromFileUrl(folder))
      for (const [route, [name, contentType]] of Object.entries(files)) {
        const content = yield* Effect.cached(Effect.orDie(fs.readFile(path.join(directory, name))))
        yield* router.get(
          // `Object.entries` widens the keys, which all are routes.
          route as "/",
          Effect.map(content, (bytes) => HttpServerResponse.uint8Array(bytes, { contentType }))
        )
      }
    })
  )
