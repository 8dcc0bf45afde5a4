/**
 * The pipeline itself: pack this package, verify it, upload it in chunks,
 * publish, write an index. Every step is journaled; the body only composes.
 */
import * as crypto from "node:crypto"
import * as Command from "@effect/platform/Command"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { RetryPolicy, Step, Workflow } from "effect-recovery"

export const chunkSize = 16 * 1024

export class UploadFailed extends Schema.TaggedError<UploadFailed>()("UploadFailed", {
  message: Schema.String,
  status: Schema.optional(Schema.Number),
  code: Schema.optional(Schema.String),
  retryAfter: Schema.optional(Schema.String)
}) {}

export class Damaged extends Schema.TaggedError<Damaged>()("Damaged", {
  what: Schema.String,
  expected: Schema.String,
  found: Schema.String
}) {}

const Package = Schema.Struct({ file: Schema.String, size: Schema.Number, digest: Schema.String })

const PackOutput = Schema.parseJson(
  Schema.Tuple(Schema.Struct({ filename: Schema.String, size: Schema.Number, integrity: Schema.String }))
)

/** What may pass is tried again soon; the server's Retry-After decides over any curve. */
const patience = RetryPolicy.byCategory({
  network: RetryPolicy.exponential({ maxRetries: 5, initialDelay: "150 millis", jitter: 0.2 }),
  timeout: RetryPolicy.exponential({ maxRetries: 5, initialDelay: "100 millis", jitter: 0.2 }),
  unavailable: RetryPolicy.exponential({ maxRetries: 5, initialDelay: "500 millis" })
})

const pack = Step.make("pack", {
  success: Package,
  run: (folder: string) =>
    Effect.gen(function* () {
      const path = yield* Path.Path
      const output = yield* Command.string(
        Command.make("npm", "pack", "--json", "--ignore-scripts", "--loglevel", "error", "--pack-destination", folder)
      )
      const [packed] = yield* Schema.decodeUnknown(PackOutput)(output)
      return { file: path.join(folder, packed.filename), size: packed.size, digest: packed.integrity }
    }).pipe(Effect.orDie)
})

const verify = Step.make("verify", {
  error: Damaged,
  run: ({ digest, file }: typeof Package.Type) =>
    Effect.flatMap(readPackage(file), (bytes) => expectDigest("package", digest, bytes))
})

const uploadChunk = Step.make("upload", {
  error: UploadFailed,
  timeout: "1 second",
  retry: patience,
  run: ({ chunk, file, url }: { readonly url: string; readonly file: string; readonly chunk: number }, attempt) =>
    Effect.gen(function* () {
      const bytes = yield* readPackage(file)
      const part = bytes.subarray(chunk * chunkSize, (chunk + 1) * chunkSize)
      const request = HttpClientRequest.put(`${url}/chunks/${chunk}`).pipe(
        HttpClientRequest.setHeader("idempotency-key", attempt.idempotencyKey),
        HttpClientRequest.setBody(HttpBody.uint8Array(part))
      )
      yield* send(request)
    })
})

const publish = Step.make("publish", {
  error: Schema.Union(UploadFailed, Damaged),
  retry: patience,
  run: ({ url, digest }: { readonly url: string; readonly digest: string }) =>
    Effect.gen(function* () {
      const response = yield* send(HttpClientRequest.post(`${url}/publish`))
      const found = yield* Effect.mapError(response.text, toUploadFailed)
      if (found !== digest) yield* new Damaged({ what: "published package", expected: digest, found })
    })
})

const writeIndex = Step.make("index", {
  success: Schema.String,
  run: ({ folder, release }: { readonly folder: string; readonly release: typeof Package.Type }) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const file = path.join(folder, "index.json")
      yield* fs.writeFileString(`${file}.new`, `${JSON.stringify(release, undefined, 2)}\n`)
      yield* fs.rename(`${file}.new`, file)
      return file
    }).pipe(Effect.orDie)
})

export const Release = Workflow.make(
  "release",
  {
    input: Schema.Struct({ folder: Schema.String, url: Schema.String }),
    success: Schema.Struct({ index: Schema.String, digest: Schema.String }),
    error: Schema.Union(UploadFailed, Damaged)
  },
  ({ folder, url }) =>
    Effect.gen(function* () {
      const release = yield* pack(folder)
      yield* verify(release)
      const chunks = Math.ceil(release.size / chunkSize)
      for (let chunk = 0; chunk < chunks; chunk++) {
        yield* uploadChunk({ url, file: release.file, chunk }).pipe(Workflow.section("chunk", chunk))
      }
      yield* publish({ url, digest: release.digest })
      const index = yield* writeIndex({ folder, release })
      return { index, digest: release.digest }
    })
)

export const digestOf = (bytes: Uint8Array): string =>
  `sha512-${crypto.createHash("sha512").update(bytes).digest("base64")}`

const readPackage = (file: string) => Effect.orDie(Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFile(file)))

const expectDigest = (what: string, expected: string, bytes: Uint8Array) => {
  const found = digestOf(bytes)
  return found === expected ? Effect.void : Effect.fail(new Damaged({ what, expected, found }))
}

const send = (request: HttpClientRequest.HttpClientRequest) =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    return yield* Effect.flatMap(client.execute(request), HttpClientResponse.filterStatusOk)
  }).pipe(Effect.mapError(toUploadFailed))

/** Keeps what a fault is recognised by: the status, the code behind "fetch failed", Retry-After. */
const toUploadFailed = (error: HttpClientError.HttpClientError): UploadFailed => {
  if (error._tag === "ResponseError") {
    const { headers, status } = error.response
    return new UploadFailed({ message: `status ${status}`, status, retryAfter: headers["retry-after"] })
  }
  const code = codeBehind(error)
  return new UploadFailed({ message: code === undefined ? error.message : code, code })
}

const codeBehind = (error: unknown): string | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  if ("code" in error && typeof error.code === "string") return error.code
  return "cause" in error ? codeBehind(error.cause) : undefined
}
