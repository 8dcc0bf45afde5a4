/**
 * Finds commands that outlived a killed `exec`. Each exec that holds a task, a
 * lock or files listens on a socket beside the database, and all processes of its
 * command inherit the listening descriptor. The kernel accepts connections while
 * any of them lives, and refuses them from then on.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { isGone, isLedGroupAlive, processOf, thisProcess } from "../../host/owner.js"
import * as Lock from "../../lock/Lock.js"
import { messageOf } from "../../resilience/Foreign.js"
import { type Ended, ended } from "../exit.js"

/** What an exec holds: names of tasks and locks, and the full paths of its files. */
export interface Holdings {
  readonly names: ReadonlyArray<string>
  readonly files: ReadonlyArray<string>
}

/** A file transaction that keeps the old content of a file, by its root and its name. */
const Backup = Schema.Struct({ root: Schema.String, name: Schema.String })
export type Backup = typeof Backup.Type

/** The record that an exec leaves if it is killed. */
export interface Leftover {
  readonly run: string
  readonly backups: ReadonlyArray<Backup>
}

const Description = Schema.parseJson(
  Schema.Struct({
    /** The process of the exec. */
    owner: Schema.String,
    /** The first process of its command, which leads the process group. */
    leader: Schema.optional(Schema.String),
    names: Schema.Array(Schema.String),
    files: Schema.Array(Schema.String),
    run: Schema.String,
    backups: Schema.Array(Backup)
  })
)
type Description = typeof Description.Type

const decode = Schema.decodeUnknownOption(Description)

const folderOf = (database: string): string => `${database}-exec`

/** In bytes, without the final NUL: macOS has the shortest addresses. */
const maxSocketPath = 103

/** Calls the function with a path that fits into the address of a socket. It must use the path before it returns. */
const withShortPath = <A>(at: string, use: (at: string) => A): A => {
  if (Buffer.byteLength(at) <= maxSocketPath) return use(at)
  const before = process.cwd()
  process.chdir(path.dirname(at))
  try {
    return use(path.basename(at))
  } finally {
    process.chdir(before)
  }
}

/** Ends the name of a description that is being written. */
const draft = ".new"

/** How long a description may take to write, in milliseconds. */
const draftMillis = 60_000

/** Removes the first drafts of execs that were killed while they wrote them. They had announced nothing yet. */
const removeDrafts = (folder: string, names: ReadonlyArray<string>): void => {
  for (const name of names) {
    if (!name.endsWith(draft) || names.includes(name.slice(0, -draft.length))) continue
    const at = path.join(folder, name)
    const written = fs.statSync(at, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()
    if (Date.now() - written > draftMillis) fs.rmSync(at, { force: true })
  }
}

/** One announced exec. */
class Announced {
  readonly folder: string
  readonly id: string

  constructor(folder: string, id: string) {
    this.folder = folder
    this.id = id
  }

  get socket(): string {
    return path.join(this.folder, `${this.id}.sock`)
  }

  private get file(): string {
    return path.join(this.folder, `${this.id}.json`)
  }

  private get draft(): string {
    return `${this.file}${draft}`
  }

  write(description: Description): void {
    fs.writeFileSync(this.draft, JSON.stringify(description), { mode: 0o600 })
    fs.renameSync(this.draft, this.file)
  }

  /** None if it has been removed meanwhile. */
  read(): Option.Option<Description> {
    try {
      return decode(fs.readFileSync(this.file, "utf8"))
    } catch {
      return Option.none()
    }
  }

  remove(): void {
    // A draft first: without the file, its owner would be unknown.
    fs.rmSync(this.draft, { force: true })
    fs.rmSync(this.file, { force: true })
    fs.rmSync(this.socket, { force: true })
  }
}

/** Passed to the processes of a command. */
export interface Guard {
  /** Undefined where sockets cannot be inherited; there the process group alone is watched. */
  readonly descriptor: number | undefined
  /** Records the first process of a command. */
  readonly started: (pid: number) => void
}

/** Undefined on file systems without sockets. */
const listen = (at: string): Effect.Effect<net.Server | undefined> =>
  Effect.async((resume) => {
    const server = net.createServer((connection) => {
      // It stays open until this process ends: its end tells those who wait.
      connection.on("error", () => {})
      connection.unref()
    })
    server.once("error", () => resume(Effect.succeed(undefined)))
    server.once("listening", () => resume(Effect.succeed(server)))
    withShortPath(at, (short) => server.listen(short))
    server.unref()
  })

/** Node has no public way to the descriptor of a server that listens on a path. */
const descriptorOf = (server: net.Server & { readonly _handle?: { readonly fd?: number } }): number | undefined =>
  server._handle?.fd

/** Announces what this exec holds, until the scope is closed. */
export const announce = (
  database: string,
  { files, names }: Holdings,
  { backups, run }: Leftover
): Effect.Effect<Guard, Ended, Scope.Scope> => {
  const announced = new Announced(folderOf(database), crypto.randomBytes(8).toString("hex"))
  const description = { owner: thisProcess(), names, files, run, backups }
  const written = Effect.try({
    try: () => {
      fs.mkdirSync(announced.folder, { recursive: true, mode: 0o700 })
      // Before the socket exists: a file without a socket is removed with its owner, a socket without a file never.
      announced.write(description)
    },
    catch: (cause) => ended("Storage", `${announced.folder} cannot be written: ${messageOf(cause)}`)
  })
  const listening = process.platform === "win32" ? Effect.succeed(undefined) : listen(announced.socket)
  return Effect.acquireRelease(Effect.zipRight(written, listening), (server) =>
    Effect.sync(() => {
      server?.close()
      announced.remove()
    })
  ).pipe(
    Effect.map((server) => ({
      descriptor: server && descriptorOf(server),
      started: (pid) => {
        try {
          announced.write({ ...description, leader: processOf(pid) })
        } catch {
          // A full disk, say. The socket tells all the same.
        }
      }
    }))
  )
}

/** Whether a process holds the socket. With `stay`, only answers when the connection has ended, as it does with its last holder. */
const isHeld = (at: string, stay: boolean): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    let held = true
    const socket = withShortPath(at, (short) => net.connect(short))
    if (!stay) socket.once("connect", () => socket.destroy())
    socket.once("error", (error) => {
      held = !("code" in error && /^(ECONNREFUSED|ENOENT|ENOTSOCK)$/.test(String(error.code)))
    })
    socket.once("close", () => resume(Effect.succeed(held)))
    socket.resume()
    return Effect.sync(() => socket.destroy())
  })

/** Long enough that asking again and again costs nothing. */
const pause = "50 millis"

/** Waits until no process of the exec and of its commands is left. */
const awaitEnd = (announced: Announced, { leader }: Description): Effect.Effect<void> =>
  Effect.repeat(Effect.delay(isHeld(announced.socket, true), pause), { while: (held) => held }).pipe(
    Effect.zipRight(
      Effect.repeat(
        Effect.delay(
          Effect.sync(() => leader !== undefined && isLedGroupAlive(leader)),
          pause
        ),
        { while: (alive) => alive }
      )
    )
  )

/** The processes that hold the socket, as far as this user may see them. Linux only. */
const holdersOf = ({ id }: Announced): ReadonlyArray<number> => {
  const list = (at: string) => {
    try {
      return fs.readdirSync(at)
    } catch {
      return []
    }
  }
  try {
    const lines = fs.readFileSync("/proc/net/unix", "utf8").split("\n")
    const sockets = lines
      .filter((line) => line.endsWith(`${id}.sock`))
      .map((line) => `socket:[${line.split(/\s+/)[6]}]`)
    const holds = (pid: string) =>
      list(`/proc/${pid}/fd`).some((fd) => {
        try {
          return sockets.includes(fs.readlinkSync(`/proc/${pid}/fd/${fd}`))
        } catch {
          return false
        }
      })
    return list("/proc")
      .filter((name) => /^\d+$/.test(name) && holds(name))
      .map(Number)
  } catch {
    return []
  }
}

const overlaps = (a: string, b: string): boolean =>
  a === b || a.startsWith(`${b}${path.sep}`) || b.startsWith(`${a}${path.sep}`)

/** What both hold, in words; undefined if nothing. */
const sharedBy = (held: Holdings, { files, names }: Description): string | undefined => {
  const name = held.names.find((one) => names.includes(one))
  if (name !== undefined) return `"${name}"`
  return held.files.find((one) => files.some((other) => overlaps(one, other)))
}

const announcedIn = (folder: string): ReadonlyArray<readonly [Announced, Description]> => {
  const names = fs.existsSync(folder) ? fs.readdirSync(folder) : []
  removeDrafts(folder, names)
  return names
    .filter((name) => name.endsWith(".json"))
    .flatMap((name) => {
      const announced = new Announced(folder, path.basename(name, ".json"))
      return Option.toArray(Option.map(announced.read(), (description) => [announced, description] as const))
    })
}

/** An exec was killed, but processes of its command live. */
export interface Orphan {
  /** What it still holds, in words. */
  readonly shared: string
  /** How to end its processes. */
  readonly kill: string
}

const orphanOf = (announced: Announced, { leader }: Description, shared: string): Orphan => {
  const [, pid] = /\/(\d+)@/.exec(leader ?? "") ?? []
  if (leader !== undefined && isLedGroupAlive(leader)) return { shared, kill: `kill -- -${pid}` }
  const holders = holdersOf(announced)
  return { shared, kill: holders.length === 0 ? "" : `kill ${holders.join(" ")}` }
}

/** An exec on this host that lives holds its locks, which are waited for instead. */
const isLiving = (owner: string): boolean => owner.split("/")[0] === thisProcess().split("/")[0] && !isGone(owner)

/**
 * Waits for commands that hold the same and outlived their exec, each for at most
 * the timeout, and settles what the exec has left. Returns the first one that does
 * not end in time.
 */
export const awaitOrphans = <E, R>(
  database: string,
  held: Holdings,
  options: {
    readonly timeout: Duration.Duration
    readonly onWait: (orphan: Orphan) => Effect.Effect<void>
    readonly settle: (leftover: Leftover) => Effect.Effect<void, E, R>
  }
) =>
  Effect.gen(function* () {
    for (const [announced, description] of announcedIn(folderOf(database))) {
      if (isLiving(description.owner)) continue
      const isAlive =
        (yield* isHeld(announced.socket, false)) ||
        (description.leader !== undefined && isLedGroupAlive(description.leader))
      const shared = sharedBy(held, description)
      // A later start of its own task settles it.
      if (shared === undefined && (isAlive || description.backups.length > 0)) continue
      if (isAlive && shared !== undefined) {
        const orphan = orphanOf(announced, description, shared)
        yield* options.onWait(orphan)
        const ended = yield* Effect.timeoutOption(awaitEnd(announced, description), options.timeout)
        if (Option.isNone(ended)) return Option.some(orphan)
      }
      const settled = Effect.suspend(() =>
        // Another start may have settled it during the wait for the lock, and changed the files since.
        Option.isNone(announced.read())
          ? Effect.void
          : Effect.zipRight(
              options.settle(description),
              Effect.sync(() => announced.remove())
            )
      )
      yield* Lock.withLock(settled, { kind: "exec", id: `left by ${announced.id}` }, { timeout: options.timeout })
    }
    return Option.none<Orphan>()
  })
