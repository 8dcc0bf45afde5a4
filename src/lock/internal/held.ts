import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { LockLost } from "../LockError.js"

export interface HeldLock {
  readonly lock: string
  /**
   * Rises with each acquisition of the lock. Hand it to what the lock
   * protects: whoever keeps the highest one it has seen can refuse a holder
   * that has lost the lock and does not know yet.
   */
  readonly token: number
  /** Asks now whether it is still held. */
  readonly check: Effect.Effect<void, LockLost>
  /** Never ends, but for the loss of the lock. */
  readonly lost: Effect.Effect<never, LockLost>
}

export class Held extends Context.Tag("effect-recovery/Lock/Held")<Held, HeldLock>() {}
