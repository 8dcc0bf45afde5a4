/**
 * What `effect-recovery/testing` uses of workflows. No door exports it.
 *
 * @since 0.1.0
 */

export {
  /**
   * @since 0.1.0
   * @category services
   */
  type FaultInjector,
  /**
   * @since 0.1.0
   * @category services
   */
  Injected
} from "./internal/execution/execution.js"
export {
  /**
   * @since 0.1.0
   * @category fibers
   */
  stepOf
} from "./internal/execution/fiberTree.js"
export {
  /**
   * @since 0.1.0
   * @category replaying
   */
  type Replayed,
  /**
   * @since 0.1.0
   * @category replaying
   */
  replay
} from "./internal/run/history.js"
