import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Lock from "../../../lock/Lock.js"
import type { InMemory, Lifetime } from "../../../transaction/Transactor.js"
import type { FileError } from "../../FileError.js"
import type { TransactionError } from "../../FileTransaction.js"
import { doing } from "../system/errors.js"
import { locate, type Target } from "../system/replace.js"
import type { Opened } from "./opened.js"

type Found = readonly [Target, ...ReadonlyArray<Target>]

export interface Targets {
  /** Waits until no part beside this one has to do with the path. */
  readonly claim: (part: Lifetime, at: string) => Effect.Effect<void, Lock.LockTimeout | Lock.LockError>
  /**
   * Finds what the paths lead to, and keeps others from it. One that leads
   * somewhere else afterwards, since we had to wait, is looked for again.
   */
  readonly withTargets: <A, E>(
    given: readonly [string, ...ReadonlyArray<string>],
    follow: boolean,
    use: (targets: Found) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | TransactionError>
}

/** What the paths of a root lead to, for the transactions in it. */
export const targetsOf = (opened: Opened, current: Effect.Effect<InMemory>): Targets => {
  const inFront = (at: string, blocking: Lifetime, started: number) =>
    Effect.gen(function* () {
      const limit = Duration.toMillis(opened.settings.timeout ?? "30 seconds")
      const left = limit - ((yield* Clock.currentTimeMillis) - started)
      const over = yield* Effect.timeoutOption(Effect.interruptible(blocking.ended), Math.max(0, left))
      if (Option.isSome(over)) return
      const name = Lock.resource(at)
      const status = yield* opened.locks.status(name)
      return yield* new Lock.LockTimeout({ lock: Lock.format(name), waited: Duration.millis(limit), status })
    })

  const claim: Targets["claim"] = (part, at) =>
    Effect.flatMap(Clock.currentTimeMillis, (started) => {
      const tried: Effect.Effect<void, Lock.LockTimeout | Lock.LockError> = Effect.suspend(() => {
        const blocking = opened.claims.take(part, at)
        return blocking === undefined ? Effect.void : Effect.zipRight(inFront(at, blocking, started), tried)
      })
      return tried
    })

  /** The lock of a link is that of what it leads to. */
  const lockOf = ({ path: at, stats }: Target): Effect.Effect<Lock.Name, FileError> =>
    stats?.isSymbolicLink() === true
      ? Effect.map(locate(at).pipe(doing("Finding", at)), (found) => Lock.resource(found.path))
      : Effect.succeed(Lock.resource(at))

  const withTargets: Targets["withTargets"] = (given, follow, use) => {
    const find = Effect.forEach(given, (one) => opened.inside(one, follow))
    return Effect.gen(function* () {
      const { memory } = yield* current
      const before = yield* find
      for (const target of before) {
        yield* claim(memory.lifetime, target.path)
        yield* opened.lock(yield* lockOf(target))
      }
      return yield* opened.oneByOne(
        Effect.flatMap(find, (now) =>
          now.every(({ path }, i) => path === before[i]?.path) ? Effect.asSome(use(now)) : Effect.succeedNone
        )
      )
    }).pipe(Effect.flatMap(Option.match({ onNone: () => withTargets(given, follow, use), onSome: Effect.succeed })))
  }

  return { claim, withTargets }
}
