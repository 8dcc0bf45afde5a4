import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/**
 * A new owner of leases in this process: `host/pid@start/nonce`. The host part
 * includes the boot and the process namespace: a process id means something only
 * there, so two containers with one hostname never judge each other's processes.
 */
export const makeOwner: Effect.Effect<string> = Effect.map(
  Random.nextIntBetween(0, 2 ** 31),
  (nonce) => `${thisProcess()}/${nonce.toString(36)}`
)

let known: string | undefined

/** Identifies this process: `host/pid@start`. */
export const thisProcess = (): string => {
  known ??= processOf(process.pid)
  return known
}

/** Identifies a process of this host that exists: `host/pid@start`. */
export const processOf = (pid: number): string => `${host}/${pid}@${statOf(pid).start ?? "?"}`

const orEmpty = (read: () => string): string => {
  try {
    return read().trim()
  } catch {
    return ""
  }
}

/** Tells hosts with one hostname apart: by boot id, or by network cards where there is no boot id. */
const bootOrMachine = (): string =>
  orEmpty(() => fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8")) ||
  Object.values(os.networkInterfaces())
    .flatMap((cards) => cards ?? [])
    .flatMap(({ internal, mac }) => (internal ? [] : [mac]))
    .sort()
    .join()

/** Hostname and a digest of the rest. Short, since every run stores its owner. */
const host = `${os.hostname().replace(/[/~+]/g, "_")}-${crypto
  .createHash("sha256")
  .update([os.hostname(), bootOrMachine(), orEmpty(() => fs.readlinkSync("/proc/self/ns/pid"))].join("\n"))
  .digest("hex")
  .slice(0, 12)}`

/**
 * The state of a process, and its start time in ticks since boot: it tells a
 * process from an earlier one with the same id. Linux only.
 */
const statOf = (pid: number | string) => {
  const stat = orEmpty(() => fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  // The command may contain spaces and brackets, so fields are counted after its closing bracket.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return { state: fields[0], group: fields[2], start: fields[19] }
}

/** A zombie has ended and only waits for its parent to notice. */
const isZombie = (state: string | undefined): boolean => state === "Z" || state === "X"

/**
 * Whether a process group has no process left but zombies, which nothing may
 * ever remove in a container. POSIX only.
 */
export const isGroupGone = (id: number): boolean => {
  if (!exists(-id)) return true
  const processes = fs.existsSync("/proc/self/stat") ? fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)) : []
  const found = processes.map(statOf).filter(({ group }) => group === String(id))
  return found.length > 0 && found.every(({ state }) => isZombie(state))
}

/** Whether the group that this process of this host led still has processes. Its id is not reused while it has. */
export const isLedGroupAlive = (leader: string): boolean => {
  const [leaderHost, who] = leader.split("/")
  const [pid, start] = who?.split("@") ?? []
  if (leaderHost !== host || pid === undefined) return false
  const now = statOf(pid).start
  const isReused = now !== undefined && start !== "?" && now !== start
  return !isReused && !isGroupGone(Number(pid))
}

/** Processes that were found alive or dead, by host, id and start time. */
const found = new Map<string, { readonly isGone: boolean; readonly at: number }>()

/** A process that was alive is looked up again after this time, in milliseconds; a dead one stays dead. */
const trusted = 100

/**
 * True only if the owner's process ran on this host and is certainly dead. Any
 * doubt counts as alive. Many leases of one process cost one look.
 */
export const isGone = (owner: string): boolean => {
  const [ownerHost, who] = owner.split("/")
  const key = `${ownerHost}/${who}`
  const now = performance.now()
  const known = found.get(key)
  if (known !== undefined && (known.isGone || now - known.at < trusted)) return known.isGone
  if (found.size >= 1_000) found.clear()
  const isGone = isProcessGone(ownerHost, who)
  found.set(key, { isGone, at: now })
  return isGone
}

/**
 * True only if the owner's process runs on this host and is certainly alive. Any
 * doubt counts as not known: without start times, another process may have its id.
 */
export const isAlive = (owner: string): boolean => {
  const [ownerHost, who] = owner.split("/")
  const [pid, start] = who?.split("@") ?? []
  if (ownerHost !== host || pid === undefined || start === undefined || start === "?") return false
  const stat = statOf(Number(pid))
  return stat.start === start && stat.state !== "Z" && stat.state !== "X"
}

const isProcessGone = (ownerHost: string | undefined, who: string | undefined): boolean => {
  const [pid, start] = who?.split("@") ?? []
  if (ownerHost !== host || pid === undefined || start === undefined) return false
  if (!exists(Number(pid))) return true
  const stat = statOf(Number(pid))
  if (isZombie(stat.state)) return true
  return start !== "?" && stat.start !== undefined && stat.start !== start
}

const exists = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Other codes, such as EPERM, mean that the process exists.
    return !(error instanceof Error && "code" in error && error.code === "ESRCH")
  }
}
