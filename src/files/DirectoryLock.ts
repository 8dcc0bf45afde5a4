/**
 * Locks as folders, for file systems where locks of the operating system do not
 * work, such as network shares. They need nothing but renames.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Lock from "../lock/Lock.js"
import { directoryDriver } from "./internal/lock/directoryDriver.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Where the locks are, a folder for each: `<folder>/task/<id>.lock`. It is made when it is needed. The lock of a
   * resource is called by the path from here to there. Everybody who is to be kept out must use the same folder.
   */
  readonly folder: string
  /**
   * After how long without a heartbeat a holder is taken for dead, by whoever waits for the lock. A quarter of it is
   * the time between heartbeats, so it should be much longer than the file system, or a process, ever hangs. All who use the folder
   * should say the same. A process that has died on the same host is known to be dead at once. Defaults to 30 seconds.
   */
  readonly stale?: Duration.DurationInput | undefined
  /** The longest wait between two looks at a lock somebody else holds. Defaults to 50 milliseconds. */
  readonly poll?: Duration.DurationInput | undefined
}

/**
 * `Lock` by folders with heartbeats. Who takes over a stale lock is decided by
 * one rename, which succeeds for one of them; a holder that was only slow finds
 * out at its next heartbeat, and is told so by a `LockLost`.
 *
 * Times of other hosts are not compared with: a holder is stale if somebody who
 * waits has seen no heartbeat of it for as long. So a lock whose holder died on
 * another host is not free at once, and `Lock.withLockIfAvailable` does not get
 * it until it has been looked at before.
 *
 * @example
 * ```ts
 * import { Lock } from "effect-recovery"
 * import { DirectoryLock } from "effect-recovery/files"
 * import { Effect } from "effect"
 * import * as fs from "node:fs"
 * import * as os from "node:os"
 *
 * const folder = fs.mkdtempSync(`${os.tmpdir()}/example-`)
 * const work = Effect.succeed("one agent at a time").pipe(Lock.withLock(Lock.agent("reviewer")))
 *
 * work.pipe(Effect.provide(DirectoryLock.layer({ folder })), Effect.runPromise).then(console.log) // one agent at a time
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = ({ folder, poll = "50 millis", stale = "30 seconds" }: Options): Layer.Layer<Lock.Lock> =>
  Layer.sync(Lock.Lock, () => Lock.make(directoryDriver({ folder, poll, stale })))
