import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Received {
  readonly headers: Record<string, string>
  readonly body: string
}

interface Answer {
  readonly status: number
  readonly headers?: Record<string, string>
}

/** A server on loopback that records its requests, and answers in turn, then with 204. */
export const receiver = (
  answers: Array<Answer>
): Effect.Effect<
  { readonly requests: ReadonlyArray<Received>; readonly url: string; readonly port: number },
  never,
  Scope.Scope
> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const requests: Array<Received> = []
        const server = http.createServer((request, response) => {
          const chunks: Array<Buffer> = []
          request.on("data", (chunk) => chunks.push(chunk))
          request.on("end", () => {
            // Node joins headers of one name to one text, except for cookies.
            requests.push({
              body: Buffer.concat(chunks).toString(),
              headers: request.headers as Record<string, string>
            })
            const { headers = {}, status } = answers.shift() ?? { status: 204 }
            response.writeHead(status, headers).end(status === 204 ? undefined : "no")
          })
        })
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        return { server, requests }
      }),
      ({ server }) =>
        Effect.promise(
          () =>
            new Promise<void>((resolve) => {
              server.close(() => resolve())
              server.closeAllConnections()
            })
        )
    ),
    ({ requests, server }) => {
      const { port } = server.address() as AddressInfo
      return { requests, port, url: `http://127.0.0.1:${port}/hooks` }
    }
  )
