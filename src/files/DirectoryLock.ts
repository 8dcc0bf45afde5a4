/**
 * Locks as folders, for file systems without working locks of the operating
 * system, such as network shares. They need only an atomic rename.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Lock from "../lock/Lock.js"
import { millisOrInfinity } from "../resilience/internal/kernel/options.js"
import { directoryDriver } from "./internal/lock/directoryDriver.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The folder of the locks, with one folder per lock: `<folder>/task/<id>.lock`. Created when needed. The lock of a
   * resource is named by its path relative to this folder. All processes that exclude one another use one folder.
   */
  readonly folder: string
  /**
   * How long a waiting process watches a holder without heartbeats before it takes the lock over. The holder sends a
   * heartbeat every quarter of it, so choose it much longer than the file system or a process ever hangs. Use one
   * value for all processes of the folder. A dead process of the same host is detected at once. At least 4
   * milliseconds; with `Infinity`, no holder of another host is ever dead. Default: 30 seconds.
   */
  readonly stale?: Duration.DurationInput | undefined
  /** The longest wait between two attempts. At least 1 millisecond. Default: 50 milliseconds. */
  readonly poll?: Duration.DurationInput | undefined
}

/**
 * `Lock` by folders with heartbeats. Each change of a lock is one rename, so
 * only one of several processes takes over a stale lock. A holder that was only
 * slow detects the loss at its next heartbeat and fails with `LockLost`.
 *
 * Clocks of different hosts are never compared: a holder on another host counts
 * as dead after the waiting process itself has seen no heartbeat for `stale`.
 * `Lock.withLockIfAvailable` therefore acquires such a lock only if this process
 * has seen it before.
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
  Layer.sync(Lock.Lock, () =>
    Lock.make(directoryDriver({ folder, poll, staleMillis: millisOrInfinity("stale", stale, 4) }))
  )
