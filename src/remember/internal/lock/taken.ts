import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import type { Grip, HeldLock, Name } from "../../Lock.js"
import { LockError, LockLost } from "../../LockError.js"
import { format } from "./names.js"

/** A lock that was acquired, until it is given back. */
export interface Taken {
  readonly key: string
  readonly held: HeldLock
  over: boolean
  /** Whether it was still held. */
  readonly release: Effect.Effect<boolean>
}

const living = (all: ReadonlyArray<Taken>): ReadonlyArray<Taken> => all.filter(({ over }) => !over)

/** What the fiber holds, and whoever forked it: asking for it again would never end. */
const mine = globalValue("effect-recovery/Lock/mine", () =>
  FiberRef.unsafeMake<ReadonlyArray<Taken>>([], {
    // What a fiber has acquired is held by whoever waited for it, beside what that held already.
    join: (ours, theirs) => living([...new Set([...ours, ...theirs])])
  })
)

export const refuseAgain = (key: string, name: Name): Effect.Effect<void, LockError> =>
  Effect.flatMap(FiberRef.get(mine), (all) =>
    living(all).some((taken) => taken.key === key)
      ? Effect.fail(new LockError({ reason: "Reentrant", lock: format(name) }))
      : Effect.void
  )

export interface ToTake {
  readonly key: string
  readonly name: Name
  readonly grip: Grip
  /** When it was asked for, in nanoseconds: since then it is certainly held. */
  readonly since: bigint
  readonly heartbeat: number
  readonly patience: number
  /** Lets the next one of this process ask. */
  readonly leave: () => void
}

export const take = ({ grip, heartbeat, key, leave, name, patience, since }: ToTake): Effect.Effect<Taken> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const lost = yield* Deferred.make<never, LockLost>()
    const lock = format(name)
    /** Made when it is needed: an error takes as long as a lock of the operating system. */
    const error = () => new LockLost({ lock, token: grip.token })
    const lose = Effect.suspend(() => Deferred.fail(lost, error()))
    const oneByOne = Effect.unsafeMakeSemaphore(1).withPermits(1)
    let renewed = since

    /** False, if it is lost; one that cannot be renewed is not lost before its time is over. */
    const renew = oneByOne(
      Effect.suspend(() => {
        const started = clock.unsafeCurrentTimeNanos()
        return Effect.match(grip.renew, {
          onSuccess: (ours) => {
            if (ours) renewed = started
            return ours
          },
          onFailure: () => millisSince(renewed, clock) < patience
        })
      })
    )
    // Not cut short: half a heartbeat could look like the loss of the lock.
    const beat = Effect.zipRight(Effect.sleep(heartbeat), Effect.uninterruptible(renew))
    const beats = Effect.zipRight(Effect.repeat(beat, { while: (ours) => ours }), lose)

    /** A renewal may take for ever, and the lock is lost all the same. */
    const watch: Effect.Effect<unknown> = Effect.suspend(() => {
      const left = patience - millisSince(renewed, clock)
      return left <= 0 ? lose : Effect.zipRight(Effect.sleep(left), watch)
    })

    const beating = yield* Effect.forkDaemon(Effect.interruptible(beats))
    const watching = Number.isFinite(patience) ? yield* Effect.forkDaemon(Effect.interruptible(watch)) : undefined

    const check = Effect.flatMap(
      Effect.suspend(() => (taken.over ? Effect.succeed(false) : Effect.uninterruptible(renew))),
      (ours) => (ours ? Effect.void : Effect.zipRight(lose, Effect.failSync(error)))
    )

    const giveBack = Effect.zipRight(
      Fiber.interrupt(beating),
      // One that cannot be given back runs out, or ends with its process.
      Effect.orElseSucceed(oneByOne(grip.release), () => true)
    )
    // A lock that is lost is not waited for: it may hang for the same reason.
    const givenBack =
      watching === undefined
        ? giveBack
        : Effect.flatMap(Effect.forkDaemon(giveBack), (giving) =>
            Effect.raceFirst(
              Effect.interruptible(Fiber.join(giving)),
              Effect.interruptible(Effect.catchAll(Deferred.await(lost), () => Effect.succeed(false)))
            )
          )
    const release = Effect.gen(function* () {
      const wasLost = yield* Deferred.isDone(lost)
      const ours = yield* givenBack
      taken.over = true
      leave()
      if (watching !== undefined) yield* Fiber.interruptFork(watching)
      yield* FiberRef.update(mine, living)
      return ours && !wasLost
    })

    const held = { lock, token: grip.token, check, lost: Deferred.await(lost) }
    const taken: Taken = { key, held, over: false, release }
    yield* FiberRef.update(mine, (all) => [...living(all), taken])
    return taken
  })

/** By a clock that nobody puts back. */
export const millisSince = (nanos: bigint, clock: Clock.Clock): number =>
  Number(clock.unsafeCurrentTimeNanos() - nanos) / 1e6
