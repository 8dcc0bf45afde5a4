import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Lock from "../../../lock/Lock.js"
import type { Lifetime } from "../../../transaction/Transactor.js"
import { overlaps } from "./undo.js"

/**
 * The paths that each part of a transaction has read or changed. While a part
 * is open, parts beside it must not use its paths: its rollback would also undo
 * what they did.
 */
export class Claims {
  private readonly paths = new Map<Lifetime, Set<string>>()
  private readonly locks: Lock.Service
  private readonly timeout: Lock.Options["timeout"]

  constructor(locks: Lock.Service, timeout: Lock.Options["timeout"]) {
    this.locks = locks
    this.timeout = timeout
  }

  /** Claims a path for a part, after the parts beside it that claimed the path have ended. */
  claim(part: Lifetime, at: string): Effect.Effect<void, Lock.LockTimeout | Lock.LockError> {
    return Effect.flatMap(Clock.currentTimeMillis, (started) => {
      const attempt: Effect.Effect<void, Lock.LockTimeout | Lock.LockError> = Effect.suspend(() => {
        const blocking = this.take(part, at)
        return blocking === undefined ? Effect.void : Effect.zipRight(this.awaitEnd(blocking, at, started), attempt)
      })
      return attempt
    })
  }

  private awaitEnd(blocking: Lifetime, at: string, started: number) {
    return Effect.gen(this, function* () {
      const timeout = Duration.toMillis(this.timeout ?? "30 seconds")
      const remaining = timeout - ((yield* Clock.currentTimeMillis) - started)
      const ended = yield* Effect.timeoutOption(Effect.interruptible(blocking.ended), Math.max(0, remaining))
      if (Option.isSome(ended)) return
      const name = Lock.resource(at)
      const status = yield* this.locks.status(name)
      return yield* new Lock.LockTimeout({ lock: Lock.format(name), waited: Duration.millis(timeout), status })
    })
  }

  /** Claims the path, or returns the part that blocks it. */
  private take(part: Lifetime, at: string): Lifetime | undefined {
    this.inherit()
    for (const [owner, paths] of this.paths) {
      if (part.isWithin(owner)) continue
      for (const path of paths) if (overlaps(path, at)) return owner
    }
    this.pathsOf(part).add(at)
    return undefined
  }

  /** Moves the claims of ended parts to the part around them, which owns their changes now. */
  private inherit(): void {
    for (const [owner, paths] of this.paths) {
      if (!owner.isOver) continue
      this.paths.delete(owner)
      if (owner.active === undefined) continue
      const heir = this.pathsOf(owner.active)
      for (const path of paths) heir.add(path)
    }
  }

  private pathsOf(part: Lifetime): Set<string> {
    const paths = this.paths.get(part) ?? new Set()
    this.paths.set(part, paths)
    return paths
  }
}
