import { spawnSync } from "node:child_process"
import { describe, type TestContext } from "vitest"

const enter = ["--mount", "--propagation", "private", "sh", "-ec"]

const tryMount = (): string | undefined => {
  if (process.platform !== "linux") return "mount namespaces are a feature of Linux"
  const { error, status, stderr } = spawnSync("unshare", [...enter, "mount -t tmpfs none /mnt"], { encoding: "utf8" })
  return status === 0 ? undefined : `this user may not mount: ${error?.message ?? stderr.trim()}`
}

/** Why this machine cannot run tests that mount; undefined if it can. */
export const mountingRefused = tryMount()

/** A suite that mounts file systems. Where mounting is not allowed it is skipped, and its title says why. */
export const describeMounted = (title: string, tests: () => void): void => {
  if (mountingRefused === undefined) describe(title, tests)
  else describe.skip(`${title} (skipped: ${mountingRefused})`, tests)
}

/** What `test/process/mounted.ts` prints. */
export interface MountedResult {
  readonly outcomes: ReadonlyArray<string>
  readonly before: Readonly<Record<string, string>>
  readonly after: Readonly<Record<string, string>>
  readonly inodes: ReadonlyArray<string>
}

const mounted = "all is mounted"

/**
 * Runs a Node program in a mount namespace of its own, after the shell commands of
 * `mounts` in the folder, and returns the JSON that it prints. The mounts end with
 * it. A machine may lack a kind of mount, such as loop devices: then the test is skipped.
 */
export const inMounts = (
  context: TestContext,
  folder: string,
  mounts: string,
  [program, ...args]: readonly [string, ...ReadonlyArray<string>]
): MountedResult => {
  const script = `cd "$1"; shift\n${mounts}\necho ${mounted} >&2\nexec "$@"`
  const given = [folder, process.execPath, program, ...args]
  const { status, stderr, stdout } = spawnSync("unshare", [...enter, script, "sh", ...given], { encoding: "utf8" })
  if (!stderr.includes(mounted)) context.skip(`this machine cannot mount it: ${stderr.trim()}`)
  if (status !== 0) throw new Error(`The program in the mount namespace ended with ${status}:\n${stdout}\n${stderr}`)
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "")
}
