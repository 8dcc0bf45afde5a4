import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import type { TestProject } from "vitest/node"
import { PostgresServer } from "./postgresServer.js"

declare module "vitest" {
  export interface ProvidedContext {
    /** A socket that answers with the `Address` of the server that all test files share. */
    readonly postgres: string
  }
}

/** One server for all test files. It starts when the first of them asks for it, and ends with the tests. */
export default async (project: TestProject) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-recovery-"))
  const socket = path.join(folder, "postgres")
  let shared: Promise<PostgresServer> | undefined
  const broker = net.createServer((connection) => {
    connection.on("error", () => {})
    shared ??= PostgresServer.start()
    shared.then(
      (server) => connection.end(JSON.stringify(server.address)),
      (error) => connection.end(JSON.stringify({ error: `${error}` }))
    )
  })
  broker.listen(socket)
  await once(broker, "listening")
  broker.unref()
  project.provide("postgres", socket)
  return async () => {
    broker.close()
    await shared?.then((server) => server.close()).catch(() => {})
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
