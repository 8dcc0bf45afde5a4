/**
 * Locks of the operating system, which frees them when their process ends,
 * however it ends. For processes of one machine that share a local folder.
 *
 * They need the package `fs-native-extensions`, which brings its binary for
 * Linux, macOS and Windows.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Lock from "../lock/Lock.js"
import { load } from "./internal/lock/native.js"
import { osDriver } from "./internal/lock/osDriver.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Where the locks are, a file for each: `<folder>/task/<id>.lock`. It is made when it is needed. The lock of a
   * resource is called by the path from here to there. Everybody who is to be kept out must use the same folder.
   */
  readonly folder: string
  /** The longest wait between two attempts, while another process has the lock. Defaults to 20 milliseconds. */
  readonly poll?: Duration.DurationInput | undefined
  /** How often it is looked whether the file of a lock that is held is still there. Defaults to 5 seconds. */
  readonly heartbeat?: Duration.DurationInput | undefined
}

/**
 * `Lock` by locks of the operating system. The files stay when locks are given
 * back (`Lock.cleanup` removes those that nobody uses), and what is in them
 * tells people who has the lock, but decides nothing.
 *
 * If the file of a lock is removed while it is held, somebody else can acquire
 * it: the holder is told so by a `LockLost`, at the next heartbeat or at its end.
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
    Effect.map(load, (native) => Lock.make(osDriver(native, { folder, heartbeat, poll })))
  )
