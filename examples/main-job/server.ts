/**
 * A small package server on loopback that misbehaves by turns: busy with
 * Retry-After, resetting connections, too slow. The turns come from a seed, so
 * every run of the example is the same.
 */
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { digestOf } from "./release.js"

export type Turn = "fine" | "busy" | "reset" | "slow"

export interface PackageServer {
  readonly url: string
  /** How often each chunk arrived whole, by number. */
  readonly deliveries: ReadonlyMap<number, number>
  readonly bytes: () => Uint8Array
  /** Called when a chunk has arrived and before the answer goes out. */
  onDelivery: (chunk: number) => void
}

/** What a chunk meets before it is taken: at least one of each kind among the first chunks. */
const makePlan = (seed: string) => {
  const random = Random.make(seed)
  const turns: ReadonlyArray<Turn> = ["busy", "reset", "slow"]
  const draw = (below: number) => Effect.runSync(random.nextIntBetween(0, below))
  const offset = draw(3)
  return (chunk: number): ReadonlyArray<Turn> => {
    const trouble = turns[(chunk + offset) % 3] as Turn
    return chunk % 2 === 1 ? (draw(4) === 0 ? [trouble, "reset"] : [trouble]) : []
  }
}

export const startServer = (seed: string): Effect.Effect<PackageServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const plan = makePlan(seed)
    const chunks = new Map<number, Uint8Array>()
    const deliveries = new Map<number, number>()
    const ahead = new Map<number, Array<Turn>>()
    const bytes = () => Buffer.concat([...chunks].sort(([a], [b]) => a - b).map(([, part]) => part))

    const nextTurn = (chunk: number): Turn => {
      const turns = ahead.get(chunk) ?? [...plan(chunk)]
      ahead.set(chunk, turns)
      return turns.shift() ?? "fine"
    }

    const take = (chunk: number, part: Buffer, response: http.ServerResponse) => {
      chunks.set(chunk, part)
      deliveries.set(chunk, (deliveries.get(chunk) ?? 0) + 1)
      server_.onDelivery(chunk)
      response.writeHead(204).end()
    }

    const answer = (chunk: number, part: Buffer, request: http.IncomingMessage, response: http.ServerResponse) => {
      switch (nextTurn(chunk)) {
        case "fine":
          return take(chunk, part, response)
        case "busy":
          return response.writeHead(503, { "retry-after": "1" }).end()
        case "reset":
          return request.socket.resetAndDestroy()
        case "slow":
          // The client has given up long before.
          return void setTimeout(() => response.end(), 5_000).unref()
      }
    }

    const onRequest = (request: http.IncomingMessage, response: http.ServerResponse) => {
      const parts: Array<Buffer> = []
      request.on("data", (part) => parts.push(part))
      request.on("end", () => {
        const chunk = /^\/chunks\/(\d+)$/.exec(request.url ?? "")?.[1]
        if (chunk === undefined) return response.end(digestOf(bytes()))
        answer(Number(chunk), Buffer.concat(parts), request, response)
      })
    }

    const server = yield* Effect.acquireRelease(
      Effect.async<http.Server>((resume) => {
        const server = http.createServer(onRequest)
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          server.closeAllConnections()
          server.close()
        })
    )
    const { port } = server.address() as AddressInfo
    const server_: PackageServer = { url: `http://127.0.0.1:${port}`, deliveries, bytes, onDelivery: () => {} }
    return server_
  })
