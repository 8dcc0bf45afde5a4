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
  known ??= `${host}/${process.pid}@${startOf(process.pid) ?? "?"}`
  return known
}

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

/** Start time in ticks since boot: tells a process from an earlier one with the same id. Linux only. */
const startOf = (pid: number): string | undefined => {
  const stat = orEmpty(() => fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  // The command may contain spaces and brackets, so fields are counted after its closing bracket.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
}

/** True only if the owner's process ran on this host and is certainly dead. Any doubt counts as alive. */
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
    // Other codes, such as EPERM, mean that the process exists.
    return !(error instanceof Error && "code" in error && error.code === "ESRCH")
  }
}
