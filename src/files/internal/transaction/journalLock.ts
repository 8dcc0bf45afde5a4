import * as Effect from "effect/Effect"
import * as Lock from "../../../lock/Lock.js"
import { adopt, isState, stateFolders } from "../lock/directoryDriver.js"
import { CurrentCalls } from "../system/calls.js"
import { isContent } from "./journal.js"

const takeover = { staleMillis: 20_000, sparesLiving: true, mode: 0o700 }

const driver = (folders = stateFolders(takeover)): Lock.Driver => ({
  keyOf: ({ id }) => Effect.succeed(id),
  attempt: (at, name, restore) =>
    Effect.map(acquired(folders, at, name, restore), (attempt) =>
      attempt._tag === "Busy" ? attempt : { ...attempt, grip: renewedSeldom(attempt.grip) }
    ),
  status: folders.status,
  list: Effect.succeed([]),
  cleanup: () => Effect.succeed(0),
  heartbeat: "5 seconds",
  // A process that was stopped for long still owns its journal, unless another one has taken it.
  patience: Number.POSITIVE_INFINITY,
  poll: "50 millis"
})

const acquired = (
  folders: Pick<Lock.Driver, "attempt">,
  ...[at, name, restore]: Parameters<Lock.Driver["attempt"]>
): ReturnType<Lock.Driver["attempt"]> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.catchIf(
      folders.attempt(at, name, restore),
      ({ reason }) => reason === "Foreign",
      // Journals of earlier versions name no owner. The lock of the root says that it is dead.
      (error) =>
        Effect.flatMap(
          Effect.mapError(calls.readdir(at), () => error),
          (names) =>
            names.every((one) => isContent(one) || isState(one))
              ? Effect.zipRight(
                  Effect.mapError(adopt(calls, at), () => error),
                  folders.attempt(at, name, restore)
                )
              : Effect.fail(error)
        )
    )
  )

/** Less than a heartbeat, so that each heartbeat renews. */
const recentMillis = 4_000

/**
 * Renews only if the last renewal is not recent: others take the lock only after a much longer time without a heartbeat.
 * By two clocks, since the steady one may stand still while the machine sleeps.
 */
const renewedSeldom = (grip: Lock.Grip): Lock.Grip => {
  const read = () => [performance.now(), Date.now()] as const
  let last = read()
  return {
    ...grip,
    renew: Effect.suspend(() => {
      const now = read()
      if (now.every((time, i) => Math.abs(time - (last[i] ?? 0)) < recentMillis)) return Effect.succeed(true)
      return Effect.tap(grip.renew, (isHeld) => {
        if (isHeld) last = now
      })
    })
  }
}

/**
 * The lock of a journal is the journal's own folder, which names its owner. So a
 * process that finds a journal learns whether its transaction lives, whatever
 * locks the two use, and of two that find one of a dead process one undoes it.
 */
export const journalLocks = (): Lock.Service => Lock.make(driver())

export const journalLock = (folder: string): Lock.Name => ({ kind: "file transaction", id: folder })
