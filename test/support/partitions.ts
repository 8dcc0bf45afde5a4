import { once } from "node:events"
import * as net from "node:net"

/** Which way of the connections is cut: requests, answers, or both. */
export type Way = "requests" | "answers" | "both"

/** Bytes of one direction that wait, or are on their way. */
class Pipe {
  private readonly to: net.Socket
  private held: Array<Buffer> = []
  private isHeld: boolean
  private tail = Promise.resolve()

  constructor(from: net.Socket, to: net.Socket, isHeld: boolean, delayMillis: () => number) {
    this.to = to
    this.isHeld = isHeld
    from.on("data", (bytes: Buffer) => {
      const millis = delayMillis()
      if (millis > 0) this.tail = this.tail.then(() => new Promise((resolve) => setTimeout(resolve, millis)))
      this.tail = this.tail.then(() => this.send(bytes))
    })
  }

  private send(bytes: Buffer): void {
    if (this.isHeld) this.held.push(bytes)
    else if (!this.to.destroyed) this.to.write(bytes)
  }

  hold(): void {
    this.isHeld = true
  }

  get heldBytes(): number {
    return this.held.reduce((sum, { length }) => sum + length, 0)
  }

  release(): void {
    this.isHeld = false
    for (const bytes of this.held.splice(0)) this.send(bytes)
  }
}

interface Connection {
  readonly near: net.Socket
  readonly far: net.Socket
  readonly requests: Pipe
  readonly answers: Pipe
}

/**
 * The network between one process and a server, whose faults a test causes. A cut connection stays open on both sides
 * and carries nothing, as with a network that drops packets; connections that are made meanwhile do the same.
 */
export class Partition {
  readonly port: number
  /** How many connections were made. */
  accepted = 0
  private readonly server: net.Server
  private readonly connections = new Set<Connection>()
  /** Sockets to the process whose other side is gone. */
  private readonly silent = new Set<net.Socket>()
  private readonly cutWays = new Set<Way>()
  private delayMillis = 0

  private constructor(server: net.Server, target: { readonly host: string; readonly port: number }) {
    this.server = server
    this.port = (server.address() as net.AddressInfo).port
    server.on("connection", (near) => {
      this.accepted++
      const far = net.connect(target.port, target.host)
      const delay = () => this.delayMillis
      const connection: Connection = {
        near,
        far,
        requests: new Pipe(near, far, this.isCut("requests"), delay),
        answers: new Pipe(far, near, this.isCut("answers"), delay)
      }
      this.connections.add(connection)
      for (const [from, to] of [
        [near, far],
        [far, near]
      ] as const) {
        from.setNoDelay(true).on("error", () => {})
        from.on("close", () => {
          this.silent.delete(from)
          // A side that hears nothing does not hear of the end of the other one either.
          if (!this.connections.delete(connection) || this.silent.has(to)) return
          if (this.isCut("both") || this.isCut(from === near ? "requests" : "answers")) this.silence(to)
          else to.destroy()
        })
      }
    })
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<Partition> {
    const server = net.createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    return new Partition(server, target)
  }

  private isCut(way: Way): boolean {
    return this.cutWays.has("both") || this.cutWays.has(way)
  }

  private silence(socket: net.Socket): void {
    socket.removeAllListeners("data").resume()
    this.silent.add(socket)
  }

  cut(way: Way = "both"): void {
    this.cutWays.add(way)
    for (const { answers, requests } of this.connections) {
      if (way !== "answers") requests.hold()
      if (way !== "requests") answers.hold()
    }
  }

  /** What the cut keeps back. */
  get heldBytes(): number {
    return [...this.connections].reduce((sum, { answers, requests }) => sum + answers.heldBytes + requests.heldBytes, 0)
  }

  /** Ends the cut before either side has given up: what was sent meanwhile arrives late. */
  heal(): void {
    this.cutWays.clear()
    for (const { answers, requests } of this.connections) {
      requests.release()
      answers.release()
    }
  }

  /** Ends the cut after the server has given up. The process is not told: its open connections never answer. */
  healHalfOpen(): void {
    this.cutWays.clear()
    for (const connection of [...this.connections]) {
      this.connections.delete(connection)
      this.silence(connection.near)
      connection.far.destroy()
    }
  }

  /** What is sent from now on takes this long in each direction. */
  delay(millis: number): void {
    this.delayMillis = millis
  }

  /** Ends the open connections at once, with a reset on both sides. */
  reset(): void {
    for (const { far, near } of [...this.connections]) {
      near.resetAndDestroy()
      far.resetAndDestroy()
    }
  }

  async close(): Promise<void> {
    for (const { far, near } of this.connections) {
      near.destroy()
      far.destroy()
    }
    for (const socket of this.silent) socket.destroy()
    this.server.close()
    await once(this.server, "close")
  }
}
