/**
 * A large file that is fetched from whichever mirror has it. What has arrived
 * lies in a file beside it, so that another process continues at the byte where
 * this one was killed; it takes its place only when its digest is right.
 */
import { createHash } from "node:crypto"
import { FileSystem, HttpClient, HttpClientRequest, type HttpClientResponse } from "@effect/platform"
import { Data, Effect, Stream } from "effect"
import { Fault, Recovery, RetryPolicy, Strategy } from "effect-recovery"

export class CutOff extends Data.TaggedError("CutOff")<{ readonly url: string; readonly cause: unknown }> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
}
export class Refused extends Data.TaggedError("Refused")<{ readonly url: string; readonly status: number }> {}
export class WrongDigest extends Data.TaggedError("WrongDigest")<{ readonly url: string; readonly found: string }> {
  readonly [Fault.declared] = Fault.declare({ category: "corruption" })
}

export interface Download {
  readonly urls: readonly [string, ...ReadonlyArray<string>]
  readonly to: string
  /** SHA-256, in hexadecimal. */
  readonly digest: string
}

const digestOf = (path: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    fs.stream(path).pipe(
      Stream.runFold(createHash("sha256"), (hash, bytes) => hash.update(bytes)),
      Effect.map((hash) => hash.digest("hex"))
    )
  )

const sizeOf = (path: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    fs.stat(path).pipe(
      Effect.map(({ size }) => Number(size)),
      Effect.orElseSucceed(() => 0)
    )
  )

/** A server that does not know ranges sends the file from its beginning. */
const isRest = ({ status }: HttpClientResponse.HttpClientResponse) => status === 206

const fetchRest = (url: string, part: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const client = yield* HttpClient.HttpClient
    const received = yield* sizeOf(part)
    const request = HttpClientRequest.get(url, { headers: received > 0 ? { range: `bytes=${received}-` } : {} })
    const response = yield* client.execute(request)
    // Nothing is left to send: all of it is here, or it is another file by now, which the digest tells.
    if (response.status === 416) return
    if (response.status >= 300) return yield* new Refused({ url, status: response.status })
    yield* Stream.run(response.stream, fs.sink(part, { flag: isRest(response) ? "a" : "w" }))
  }).pipe(
    Effect.catchTags({
      RequestError: (cause) => new CutOff({ url, cause }),
      ResponseError: (cause) => new CutOff({ url, cause })
    })
  )

const fromOne = (url: string, part: string, digest: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    yield* fetchRest(url, part)
    const found = yield* digestOf(part)
    if (found === digest) return
    // Whatever it is, it is of no use.
    yield* fs.remove(part)
    return yield* new WrongDigest({ url, found })
  }).pipe(
    Recovery.recover({ CutOff: Strategy.retry(RetryPolicy.exponential({ maxRetries: 5, initialDelay: "10 millis" })) })
  )

/** Answers with `there already` for a file that is what it should be. */
export const fetchFile = ({ digest, to, urls: [first, ...mirrors] }: Download) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    if ((yield* fs.exists(to)) && (yield* digestOf(to)) === digest) return "there already" as const
    const part = `${to}.part`
    const all = mirrors.map((url) => fromOne(url, part, digest))
    yield* all.reduce(
      (before, next) =>
        Effect.catchTags(before, { RecoveryExhausted: () => next, Refused: () => next, WrongDigest: () => next }),
      fromOne(first, part, digest)
    )
    yield* fs.rename(part, to)
    return "fetched" as const
  })
