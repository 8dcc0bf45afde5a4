import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { safely } from "../../resilience/Foreign.js"
import { loadDrivers } from "../../storage/sqlite/driver.js"
import { duration } from "../render/duration.js"
import { type Finding, failing, fine, warning } from "./finding.js"

/** The oldest version of Node that the package supports. */
const oldest = [20, 19] as const

/** What executes the command line. */
export const runtime = (versions: Readonly<Record<string, string | undefined>>): Finding => {
  const { bun, deno, node = "" } = versions
  if (bun !== undefined) {
    return warning(
      "runtime",
      `Bun ${bun}: SQLite is built in, and FileLock does not work`,
      "Use DirectoryLock.layer or Lock.layerStorage for locks, or run the program on Node."
    )
  }
  if (deno !== undefined) {
    return warning(
      "runtime",
      `Deno ${deno}: SQLite is built in, and FileLock does not work`,
      "Use DirectoryLock.layer or Lock.layerStorage for locks, or run the program on Node."
    )
  }
  const [major = 0, minor = 0] = node.split(".").map(Number)
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1])
    ? fine("runtime", `Node ${node}`)
    : failing("runtime", `Node ${node} is too old`, `Install Node ${oldest.join(".")} or later.`)
}

/** The packages that open a SQLite file: the first that loads is used. */
export const drivers: Effect.Effect<Finding> = Effect.map(loadDrivers, (tried) => {
  const used = tried.find(({ problem }) => problem === undefined)
  const problems = tried.flatMap(({ name, problem }) =>
    problem === undefined ? [] : [`${name} does not load (${problem})`]
  )
  return used === undefined
    ? failing(
        "drivers",
        `No driver of SQLite loads: ${problems.join("; ")}`,
        "Use Node 22.16 or later, whose own SQLite needs no package, or: npm install better-sqlite3@12"
      )
    : fine("drivers", `SQLite by ${used.name}`)
})

/** What each optional package is for. */
const optional = {
  pg: "postgres:// addresses",
  jiti: "recovery.config.ts before Node 22.18",
  "fs-native-extensions": "FileLock"
} as const

const isInstalled = (name: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    import(name).then(
      () => true,
      () => false
    )
  )

/** The names of the packages that this runtime can use. A binary that calls libuv would end Deno, and sometimes Bun. */
export const loadable = (versions: Readonly<Record<string, string | undefined>>) =>
  (["pg", "jiti", "fs-native-extensions"] as const).filter(
    (name) => name !== "fs-native-extensions" || !("bun" in versions || "deno" in versions)
  )

/** Nothing is wrong if one is missing: what needs it names it. */
export const packages: Effect.Effect<Finding> = Effect.map(
  Effect.forEach(loadable(process.versions), (name) =>
    Effect.map(isInstalled(name), (there) => `${name} ${there ? "is" : "is not"} installed (for ${optional[name]})`)
  ),
  (texts) => fine("packages", texts.join("; "))
)

const canWrite = (place: string): boolean => {
  try {
    fs.accessSync(place, fs.constants.R_OK | fs.constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** The nearest folder above that exists. */
const existingAbove = (file: string): string => {
  const folder = path.dirname(file)
  return fs.existsSync(folder) || folder === file ? folder : existingAbove(folder)
}

/** Whether this user, and no other, can use the database file. */
export const permissions = (file: string): Finding => {
  const found = fs.statSync(file, { throwIfNoEntry: false })
  const folder = existingAbove(file)
  if (!canWrite(folder)) {
    return failing(
      "database",
      `This user cannot write to the folder ${folder}, and SQLite keeps its log beside the file ${file}`,
      "Give the user rights to the folder, name another file with --database, or read a copy with --read-only."
    )
  }
  if (found === undefined) {
    return fine("database", `${file} does not exist yet: a program creates it when it opens its storage`)
  }
  if (!found.isFile()) return failing("database", `${file} is no file`, "Name a file with --database.")
  if (!canWrite(file)) {
    return failing(
      "database",
      `This user cannot read and write ${file}`,
      `Change its owner or mode: chmod u+rw ${file}`
    )
  }
  // Windows has no modes of this kind.
  const others = process.platform === "win32" ? 0 : found.mode & 0o077
  return others === 0
    ? fine("database", file)
    : warning(
        "database",
        `Other users may use ${file} (mode ${(found.mode & 0o777).toString(8).padStart(4, "0")}); inputs and results may be secrets`,
        `chmod 600 ${file}`
      )
}

const enough = 100_000_000

const megabytes = (bytes: number): string => `${Math.floor(bytes / 1_000_000)} MB`

/** The space for the database file. */
export const space = (file: string): Finding => {
  const folder = existingAbove(file)
  const found = safely(() => fs.statfsSync(folder))
  if (found === undefined) return warning("space", `The free space of ${folder} is unknown`, "Look at the disk.")
  const free = found.bavail * found.bsize
  return free >= enough
    ? fine("space", `${megabytes(free)} are free`)
    : warning("space", `Only ${megabytes(free)} are free in ${folder}`, "Free some space: a full disk stops all runs.")
}

/** Below this, clocks count as equal. */
const tolerance = 1_000

/** The clock of a server beside that of this machine, in epoch milliseconds before and after the answer. */
export const clockOfServer = (before: number, server: number, after: number): Finding => {
  const offset = server < before ? server - before : Math.max(0, server - after)
  return Math.abs(offset) <= tolerance
    ? fine("clock", "The clock of the storage and this machine's agree")
    : warning(
        "clock",
        `The clock of the storage is ${duration(Math.abs(offset))} ${offset > 0 ? "ahead of" : "behind"} this machine's`,
        "Synchronise both by NTP. Waits and leases go by the storage's clock; logs by this machine's."
      )
}

/** A file that was written later than now tells that the clock was set back. */
export const clockOfFile = (file: string, now: number): Finding => {
  const times = [file, `${file}-wal`].map((name) => fs.statSync(name, { throwIfNoEntry: false })?.mtimeMs ?? 0)
  const ahead = Math.max(...times) - now
  return ahead <= tolerance
    ? fine("clock", new Date(now).toISOString())
    : warning(
        "clock",
        `${file} was last written ${duration(ahead)} later than this machine's clock says it is now`,
        "Set the clock, and synchronise it by NTP. Waits of runs end when the clock has passed their end."
      )
}
