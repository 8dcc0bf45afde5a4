import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { warning } from "../../../resilience/internal/kernel/logged.js"
import type { RecoveryRecord } from "../../RecoveryRecord.js"
import { recoveries } from "../records/records.js"
import type { Settings } from "./plan.js"
import { closeIfAbandoned, isOpen } from "./sweep.js"

/** The recoveries that a manager carries out now, by id. Each completes when its recovery has released its lock. */
export type Ongoing = Map<string, Deferred.Deferred<void>>

/** Carries out a recovery, so that `joinRecovery` finds it. */
export const tracked = <A, E, R>({ ongoing }: Settings, recovery: string, work: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.tap(Deferred.make<void>(), (ended) => Effect.sync(() => ongoing.set(recovery, ended))),
    () => work,
    (ended) =>
      Effect.suspend(() => {
        ongoing.delete(recovery)
        return Deferred.succeed(ended, undefined)
      })
  )

/**
 * Starts a recovery in the scope, and returns its record before its work begins. A refusal of the recovery is that of
 * this effect. A caller that is interrupted before it has the record interrupts the recovery, too.
 */
export const beginIn = <E, R>(
  scope: Scope.Scope,
  settings: Settings,
  start: (settings: Settings) => Effect.Effect<RecoveryRecord, E, R>
) =>
  // Nothing interrupts the caller between the start of the work and the wait for its beginning.
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<RecoveryRecord>()
      const onBegin = (recovery: RecoveryRecord) => Deferred.unsafeDone(begun, Effect.succeed(recovery))
      const work = Effect.interruptible(start({ ...settings, onBegin })).pipe(
        Effect.tapErrorCause((cause) =>
          Cause.isInterruptedOnly(cause)
            ? Effect.void
            : Effect.whenEffect(warning("a recovery ended without its final status", cause), Deferred.isDone(begun))
        )
      )
      const fiber = yield* Effect.forkIn(work, scope)
      // A refusal ends the fiber before the recovery has begun.
      return yield* Effect.onInterrupt(restore(Effect.raceFirst(Deferred.await(begun), Fiber.join(fiber))), () =>
        Fiber.interrupt(fiber)
      )
    })
  )

/** The pause between two reads of a recovery that another process carries out. */
const poll = "1 second"

/** Waits for the final status of a recovery. Closes it if its process has ended. */
export const joinRecovery = ({ ongoing }: Settings, id: string) =>
  Effect.gen(function* () {
    for (;;) {
      const ended = ongoing.get(id)
      if (ended !== undefined) yield* Deferred.await(ended)
      const recovery = yield* recoveries.get(id)
      if (!isOpen(recovery.status)) return recovery
      const closed = yield* closeIfAbandoned(recovery.failure ?? "")
      if (closed === 0) yield* Effect.sleep(poll)
    }
  })
