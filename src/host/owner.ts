import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/**
 * Who this process is: `host/pid@start/nonce`. The host part also names the
 * boot and the process namespace, so that a process id is only judged where it
 * means something: two containers with one hostname do not judge each other.
 */
export const makeOwner: Effect.Effect<string> = Effect.map(
  Random.nextIntBetween(0, 2 ** 31),
  (nonce) => `${self()}/${nonce.toString(36)}`
)

let own: string | undefined

/** This process alone, whoever in it asks: `host/pid@start`. */
export const self = (): string => {
  own ??= `${host}/${process.pid}@${startOf(process.pid) ?? "?"}`
  return own
}

const readText = (path: string): string => {
  try {
    return fs.readFileSync(path, "utf8").trim()
  } catch {
    return ""
  }
}

const namespaceOf = (): string => {
  try {
    return fs.readlinkSync("/proc/self/ns/pid")
  } catch {
    return ""
  }
}

/** Two hosts may have one name. Where no boot can be told from another, the network cards tell them apart. */
const bootOrMachine = (): string =>
  readText("/proc/sys/kernel/random/boot_id") ||
  Object.values(os.networkInterfaces())
    .flatMap((cards) => cards ?? [])
    .flatMap(({ internal, mac }) => (internal ? [] : [mac]))
    .sort()
    .join()

/** Short, since every run carries it: the host's name for people, the rest as a digest. */
const host = `${os.hostname().replace(/[/~+]/g, "_")}-${crypto
  .createHash("sha256")
  .update([os.hostname(), bootOrMachine(), namespaceOf()].join("\n"))
  .digest("hex")
  .slice(0, 12)}`

/** When a process started, in ticks since boot: tells a process from a later one with its number. Linux only. */
const startOf = (pid: number): string | undefined => {
  const stat = readText(`/proc/${pid}/stat`)
  // The command may hold spaces and brackets; the fields after its closing bracket do not.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
}

/** Only a process of this very host can be known to be gone; anything unclear counts as alive. */
export const isGone = (owner: string): boolean => {
  const [ownerHost, who] = owner.split("/")
  const [pid, start] = who?.split("@") ?? []
  if (ownerHost !== host || pid === undefined || start === undefined) return false
  if (!exists(Number(pid))) return true
  const now = startOf(Number(pid))
  return start !== "?" && now !== undefined && now !== start
}

const exists = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH")
  }
}
