import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { CutOff, download, type Progress, Refused } from "../../examples/download.js"
import { fetchFile } from "../../examples/files/verified-download.js"
import { assertTagged } from "../support/assertions.js"
import { temporaryFolder } from "../support/files.js"

describe("examples/download", () => {
  const file = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251))

  /** Cuts a given number of connections in the middle of the response. */
  const serve = (options: { readonly cuts: number; readonly ranges: boolean; readonly changed?: boolean }) =>
    Effect.acquireRelease(
      Effect.async<{ readonly url: string; readonly ranges: Array<string | undefined>; readonly server: http.Server }>(
        (resume) => {
          const ranges: Array<string | undefined> = []
          let cuts = options.cuts
          let changed = options.changed === true
          const server = http.createServer((request, response) => {
            ranges.push(request.headers.range)
            const asked = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0)
            if (changed && asked > 0) {
              changed = false
              response.writeHead(416).end()
              return
            }
            const from = options.ranges ? asked : 0
            response.writeHead(from > 0 ? 206 : 200, { "content-length": file.length - from })
            if (cuts-- > 0)
              response.write(file.subarray(from, from + 30_000), () => setImmediate(() => response.destroy()))
            else response.end(file.subarray(from))
          })
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            const port = typeof address === "object" && address !== null ? address.port : 0
            resume(Effect.succeed({ url: `http://127.0.0.1:${port}/`, ranges, server }))
          })
        }
      ),
      ({ server }) =>
        Effect.async<void>((resume) => {
          server.closeAllConnections()
          server.close(() => resume(Effect.void))
        })
    )

  it.scopedLive("resumes at the byte where it was cut off, and reports progress", () =>
    Effect.gen(function* () {
      const { ranges, url } = yield* serve({ cuts: 2, ranges: true })
      const seen: Array<Progress> = []
      const got = yield* download(url, (progress) => void seen.push(progress))
      assert.deepStrictEqual(got, file)
      assert.strictEqual(ranges.length, 3)
      assert.strictEqual(ranges[0], undefined)
      for (const range of ranges.slice(1)) assert.match(range ?? "", /^bytes=[1-9]\d*-$/)
      const received = seen.map((progress) => progress.received)
      assert.deepStrictEqual(
        received,
        [...received].sort((a, b) => a - b)
      )
      assert.deepInclude(seen.at(-1), { attempt: 3, received: file.length })
    })
  )

  it.scopedLive("starts over if the server has no ranges or the file has changed", () =>
    Effect.gen(function* () {
      for (const options of [
        { cuts: 1, ranges: false },
        { cuts: 1, ranges: true, changed: true }
      ]) {
        const { url } = yield* serve(options)
        assert.deepStrictEqual(yield* download(url, () => {}), file)
      }
    })
  )

  it.scopedLive("does not retry a refusal; is exhausted if the server stays away", () =>
    Effect.gen(function* () {
      const { server, url } = yield* serve({ cuts: 0, ranges: true })
      const refused = yield* Effect.flip(
        Effect.sync(() => {
          server.removeAllListeners("request")
          server.on("request", (_, response: http.ServerResponse) => response.writeHead(403).end())
        }).pipe(Effect.zipRight(download(url, () => {})))
      )
      assert.instanceOf(refused, Refused)
      assertTagged(refused, "Refused", { status: 403 })
      server.closeAllConnections()
      yield* Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
      const exit = yield* Effect.exit(download(url, () => {}))
      const gone = yield* Effect.flip(exit)
      assertTagged(gone, "RecoveryExhausted", { attempts: 11 })
      assert.instanceOf(gone.error, CutOff)
    })
  )

  it.scopedLive("fetches a file once, resumes after a kill, and replaces the target only with the right digest", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const to = path.join(folder, "model.bin")
      const digest = createHash("sha256").update(file).digest("hex")
      const { ranges, url } = yield* serve({ cuts: 1, ranges: true })
      // The partial file of a killed process.
      fs.writeFileSync(`${to}.part`, file.subarray(0, 10_000))
      const get = (...urls: [string, ...Array<string>]) => fetchFile({ urls, to, digest })
      assert.strictEqual(yield* get(url), "fetched")
      assert.strictEqual(ranges[0], "bytes=10000-")
      assert.deepStrictEqual(fs.readFileSync(to), file)
      assert.isFalse(fs.existsSync(`${to}.part`))
      const asked = ranges.length
      assert.strictEqual(yield* get(url), "there already")
      assert.strictEqual(ranges.length, asked)
      // Skips a mirror with another file and one that refuses; does not keep a wrong file.
      const other = yield* serve({ cuts: 0, ranges: false })
      other.server.removeAllListeners("request")
      other.server.on("request", (_, response: http.ServerResponse) => response.end("another file"))
      fs.writeFileSync(to, "damaged")
      assert.strictEqual(yield* get(other.url, url), "fetched")
      assert.deepStrictEqual(fs.readFileSync(to), file)
      fs.rmSync(to)
      const wrong = yield* Effect.flip(get(other.url))
      assert.strictEqual(wrong._tag, "WrongDigest")
      assert.deepStrictEqual(fs.readdirSync(folder), [])
    }).pipe(Effect.provide([NodeContext.layer, FetchHttpClient.layer]))
  )
})
