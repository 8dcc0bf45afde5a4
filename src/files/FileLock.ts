/**
 * Locks of the operating system, which releases them when their process dies.
 * For processes of one machine that share a local folder.
 *
 * Requires the package `fs-native-extensions`, which contains binaries for
 * Linux, macOS and Windows.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Lock from "../lock/Lock.js"
import { loadNative, osDriver } from "./internal/lock/osDriver.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The folder of the locks, with one file per lock: `<folder>/task/<id>.lock`. Created when needed. The lock of a
   * resource is named by its path relative to this folder. All processes that exclude one another use one folder.
   */
  readonly folder: string
  /** The longest wait between two attempts while another process holds the lock. At least 1 millisecond. Default: 20 milliseconds. */
  readonly poll?: Duration.DurationInput | undefined
  /** The time between two checks that the file of a held lock still exists. Default: 5 seconds. `Infinity` checks only at the end. */
  readonly heartbeat?: Duration.DurationInput | undefined
}

/**
 * `Lock` by locks of the operating system. Lock files stay after the release;
 * `Lock.cleanup` removes unused ones. A file names the holder for people, but
 * only the operating system's lock decides.
 *
 * If a lock's file is removed while the lock is held, another process can
 * acquire the lock. The holder fails with `LockLost`, at its next heartbeat or
 * at its end.
 *
 * @example
 * ```ts
 * import { Lock } from "effect-recovery"
 * import { FileLock } from "effect-recovery/files"
 * import { Effect } from "effect"
 * import * as fs from "node:fs"
 * import * as os from "node:os"
 *
 * const folder = fs.mkdtempSync(`${os.tmpdir()}/example-`)
 * const nightly = Effect.succeed("done by this process alone").pipe(Lock.withLock("nightly-report"))
 *
 * nightly.pipe(Effect.provide(FileLock.layer({ folder })), Effect.runPromise).then(console.log) // done by this process alone
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = ({
  folder,
  heartbeat = "5 seconds",
  poll = "20 millis"
}: Options): Layer.Layer<Lock.Lock, Lock.LockError> =>
  Layer.effect(
    Lock.Lock,
    Effect.map(loadNative, (native) => Lock.make(osDriver(native, { folder, heartbeat, poll })))
  )
