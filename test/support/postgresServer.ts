import * as childProcess from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import * as Pg from "pg"

/** How a program reaches a database. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
}

/** How a server ends: it closes its connections first, leaves at once, or is killed. */
export type Ending = "fast" | "immediate" | "killed"

const signals = { fast: "SIGINT", immediate: "SIGQUIT", killed: "SIGKILL" } as const

const output = (program: string, args: ReadonlyArray<string>): string | undefined => {
  const { status, stdout } = childProcess.spawnSync(program, args, { encoding: "utf8" })
  return status === 0 ? stdout.trim() : undefined
}

const versions = "/usr/lib/postgresql"

/** The folder of the server's programs: `PG_BIN`, that of `pg_config`, Debian's newest, or one of the `PATH`. */
export const programs = (): string | undefined => {
  const debian = fs.existsSync(versions) ? fs.readdirSync(versions).sort((a, b) => Number(b) - Number(a)) : []
  const folders = [
    process.env["PG_BIN"],
    output("pg_config", ["--bindir"]),
    ...debian.map((version) => path.join(versions, version, "bin")),
    ...(process.env["PATH"] ?? "").split(path.delimiter)
  ]
  return folders.find(
    (folder) => folder && ["initdb", "postgres"].every((name) => fs.existsSync(path.join(folder, name)))
  )
}

/** Postgres refuses to run as root: then it runs as an unprivileged user. */
const account = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, "close")
  return port
}

/**
 * Ends the server and removes its folder when the process that started it is gone, however it ended:
 * the standard input is a pipe that only that process holds.
 */
const watchdog = (folder: string): childProcess.ChildProcess => {
  const script = `
    cat > /dev/null
    read -r pid 2> /dev/null < "$1/data/postmaster.pid" && kill -s QUIT "$pid" 2> /dev/null
    while [ -n "$pid" ] && kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
    rm -rf "$1"`
  return childProcess.spawn("sh", ["-c", script, "sh", folder], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"]
  })
}

/** Runs statements on a connection of its own. */
export const query = async (
  address: Address,
  text: string,
  values: ReadonlyArray<unknown> = []
): Promise<ReadonlyArray<Record<string, unknown>>> => {
  const client = new Pg.Client({ ...address, application_name: "tests" })
  client.on("error", () => {})
  await client.connect()
  try {
    return (await client.query(text, [...values])).rows
  } finally {
    await client.end().catch(() => {})
  }
}

/** Where a server runs: in a namespace, on addresses of its own. */
export interface Surroundings {
  /** Runs a command there, as a user who is not root. */
  readonly enter: readonly [string, ...ReadonlyArray<string>]
  /** It listens on all addresses, and lets these in. */
  readonly network: string
}

/** A server with its data in a temporary folder, on loopback and on a socket in that folder. */
export class PostgresServer {
  /** As its superuser. */
  readonly address: Address
  private readonly bin: string
  private readonly folder: string
  private readonly watch: childProcess.ChildProcess
  private process: childProcess.ChildProcess | undefined
  private readonly surroundings: Surroundings | undefined

  private constructor(bin: string, folder: string, port: number, surroundings: Surroundings | undefined) {
    this.bin = bin
    this.surroundings = surroundings
    this.folder = folder
    this.watch = watchdog(folder)
    this.watch.unref()
    if (this.watch.stdin instanceof net.Socket) this.watch.stdin.unref()
    // The socket in the folder is reached from everywhere.
    this.address = { host: surroundings ? folder : "127.0.0.1", port, user: "postgres", database: "postgres" }
  }

  static async start(surroundings?: Surroundings): Promise<PostgresServer> {
    const bin = programs()
    if (bin === undefined) throw new Error("No programs of a Postgres server were found")
    const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "effect-recovery-pg-")))
    if (account.uid !== undefined && !surroundings) fs.chownSync(folder, account.uid, account.gid)
    const server = new PostgresServer(bin, folder, await freePort(), surroundings)
    try {
      const initdb = server.spawn(
        "initdb",
        ["-D", server.data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync"],
        { stdio: ["ignore", "ignore", server.log()] }
      )
      const [code] = await once(initdb, "close")
      if (code !== 0) throw new Error(`initdb failed (${code}):\n${server.logged}`)
      if (surroundings)
        fs.appendFileSync(path.join(server.data, "pg_hba.conf"), `host all all ${surroundings.network} trust\n`)
      await server.up()
      return server
    } catch (error) {
      await server.close()
      throw error
    }
  }

  private spawn(program: string, args: ReadonlyArray<string>, options: childProcess.SpawnOptions) {
    const { enter } = this.surroundings ?? {}
    const cwd = this.folder
    const file = path.join(this.bin, program)
    if (enter === undefined) return childProcess.spawn(file, args, { ...options, ...account, cwd })
    const [command, ...inside] = enter
    return childProcess.spawn(command, [...inside, file, ...args], { ...options, cwd })
  }

  private get data(): string {
    return path.join(this.folder, "data")
  }

  private log(): number {
    return fs.openSync(path.join(this.folder, "log"), "a", 0o644)
  }

  /** What the server wrote to its log. */
  get logged(): string {
    return fs.readFileSync(path.join(this.folder, "log"), "utf8")
  }

  /** The folder of its unix socket: a `host` for a client. */
  get socketFolder(): string {
    return this.folder
  }

  /** Starts the server and waits until it answers. Backends of a killed one may still hold its memory, so it tries again. */
  async up(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const log = this.log()
      const { host, port } = this.address
      const listen = this.surroundings ? "*" : host
      const child = this.spawn(
        "postgres",
        ["-D", this.data, "-p", `${port}`, "-k", this.folder, "-c", `listen_addresses=${listen}`],
        { detached: true, stdio: ["ignore", log, log] }
      )
      fs.closeSync(log)
      child.unref()
      this.process = child
      if (await this.answers(child)) return
      if (attempt === 20) throw new Error(`postgres does not start:\n${this.logged.slice(-2_000)}`)
    }
  }

  private async answers(child: childProcess.ChildProcess): Promise<boolean> {
    while (child.exitCode === null && child.signalCode === null) {
      const answered = await query(this.address, "SELECT 1").then(
        () => true,
        () => new Promise<boolean>((resolve) => void setTimeout(resolve, 50, false))
      )
      if (answered) return true
    }
    return false
  }

  async down(ending: Ending): Promise<void> {
    const child = this.process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, "exit")
    child.kill(signals[ending])
    await ended
  }

  async restart(ending: Ending): Promise<void> {
    await this.down(ending)
    await this.up()
  }

  /** Ends the server and removes its folder. */
  async close(): Promise<void> {
    await this.down("immediate")
    const ended = once(this.watch, "exit")
    this.watch.stdin?.end()
    await ended
  }
}
