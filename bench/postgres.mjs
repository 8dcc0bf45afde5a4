/**
 * A Postgres server for the rows that need one: its own data in a folder of its
 * own, loopback only, with the durability it has by default.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { temporaryFolder } from "./harness.mjs"

const isRoot = process.getuid?.() === 0

/** Postgres refuses to run as root. */
const unprivileged = isRoot ? { uid: 65_534, gid: 65_534 } : {}

/** The folder of the server's programs, or none. */
const folderOfPrograms = () => {
  const debian = "/usr/lib/postgresql"
  const versions = fs.existsSync(debian) ? fs.readdirSync(debian).map((version) => `${debian}/${version}/bin`) : []
  const folders = [process.env.PG_BIN ?? "", ...versions.reverse(), ...(process.env.PATH ?? "").split(":")]
  return folders.find((folder) => folder !== "" && fs.existsSync(path.join(folder, "initdb")))
}

const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer()
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

/** Starts a server. Returns nothing if its programs are not installed. */
export const startPostgres = async () => {
  const programs = folderOfPrograms()
  if (programs === undefined) return undefined
  const folder = temporaryFolder()
  if (isRoot) fs.chownSync(folder, unprivileged.uid, unprivileged.gid)
  const data = path.join(folder, "data")
  const initdb = ["-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
  childProcess.execFileSync(path.join(programs, "initdb"), initdb, { ...unprivileged, stdio: "ignore", cwd: folder })
  const port = await freePort()
  const options = ["-D", data, "-h", "127.0.0.1", "-p", String(port), "-k", folder, "-c", "max_connections=200"]
  const server = childProcess.spawn(path.join(programs, "postgres"), options, {
    ...unprivileged,
    stdio: "ignore",
    cwd: folder
  })
  // A row that fails does not stop it.
  const abandon = () => {
    server.kill("SIGKILL")
    fs.rmSync(folder, { recursive: true, force: true })
  }
  process.once("exit", abandon)
  const { default: Pg } = await import("pg")
  const url = (database) => `postgres://postgres@127.0.0.1:${port}/${database}`
  for (let tries = 0; ; tries++) {
    const client = new Pg.Client({ connectionString: url("postgres") })
    try {
      await client.connect()
      await client.end()
      break
    } catch (error) {
      if (tries === 200) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const createDatabase = async (name) => {
    const client = new Pg.Client({ connectionString: url("postgres") })
    await client.connect()
    await client.query(`CREATE DATABASE ${name}`)
    await client.end()
    return url(name)
  }
  const stop = () =>
    new Promise((resolve) => {
      server.once("exit", () => {
        process.off("exit", abandon)
        fs.rmSync(folder, { recursive: true, force: true })
        resolve()
      })
      server.kill("SIGINT")
    })
  return { createDatabase, stop }
}
