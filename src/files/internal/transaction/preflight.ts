import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { isSameDevice } from "../../../host/fileIdentity.js"
import { FileError, type FileReason } from "../../FileError.js"
import { type Call, type Calls, errno } from "../system/calls.js"
import type { Mounts } from "../system/mounts.js"
import type { Target } from "../system/replace.js"

type Checked = Effect.Effect<void, NodeJS.ErrnoException | FileError>

const refuse = (reason: FileReason, at: string) =>
  Effect.fail(new FileError({ reason, operation: "Changing", path: at }))

/**
 * Refuses a path that a rollback could not rename back, before anything changes:
 * mount points, folders that contain one, and files of another mount than the root.
 */
export const refuseMounted = (mounts: Mounts | undefined, root: string, { path: at, stats }: Target): Checked => {
  if (mounts === undefined) return Effect.void
  if (mounts.isPoint(at)) return refuse("Mounted", at)
  if (mounts.of(at) !== mounts.of(root)) return refuse("OtherDevice", at)
  const inside = stats?.isDirectory() === true ? mounts.inside(at) : undefined
  return inside === undefined ? Effect.void : refuse("Mounted", inside)
}

/** Refuses a path that other programs may change and this process could not restore. */
export const refuseUnrestorable = (
  calls: Calls,
  mounts: Mounts | undefined,
  root: string,
  target: Target
): Effect.Effect<void, NodeJS.ErrnoException | FileError> =>
  Effect.gen(function* () {
    const { path: at, stats } = target
    const [folder, top] = yield* Effect.all([calls.lstat(path.dirname(at)), calls.lstat(root)])
    // Subvolumes are no mounts. Where mounts are known, only folders tell: a file of an overlay may have a device of its own.
    const isTold = stats !== undefined && (mounts === undefined || stats.isDirectory())
    if (!isSameDevice(folder, top) || (isTold && !isSameDevice(stats, top))) return yield* refuse("OtherDevice", at)
    const isForeign = ((folder?.mode ?? 0) & sticky) !== 0 && !isOneOf([folder?.uid, stats?.uid])
    const replaced = isForeign
      ? Effect.fail(errno("EPERM", `its folder is sticky, and it belongs to another user`))
      : calls.access(path.dirname(at), fs.constants.W_OK | fs.constants.X_OK)
    yield* Effect.catchAll(replaced, (refused) =>
      // What cannot be replaced may be written in place.
      stats === undefined || stats.isSymbolicLink() ? Effect.fail(refused) : writable(calls, target)
    )
    // A file that cannot be changed, not even by its owner, cannot be replaced either.
    if (stats?.isFile() === true) {
      yield* Effect.catchIf(
        writable(calls, target),
        ({ code }) => !/^(EPERM|EROFS)$/.test(code ?? ""),
        () => Effect.void
      )
    }
  })

const sticky = 0o1000

/** Whether this user is one of the owners, or may act as each of them. */
const isOneOf = (owners: ReadonlyArray<number | undefined>): boolean => {
  const user = process.geteuid?.()
  return user === undefined || user === 0 || owners.includes(user)
}

const writable = (calls: Calls, { path: at, stats }: Target): Call<void> =>
  stats?.isDirectory() === true
    ? calls.access(at, fs.constants.W_OK | fs.constants.X_OK)
    : Effect.flatMap(calls.open(at, "r+"), calls.close)
