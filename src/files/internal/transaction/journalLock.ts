import * as Effect from "effect/Effect"
import * as Lock from "../../../lock/Lock.js"
import { adopt, isState, stateFolders } from "../lock/directoryDriver.js"
import { CurrentCalls } from "../system/calls.js"
import { isContent } from "./journal.js"

const takeover = { staleMillis: 20_000, sparesLiving: true, mode: 0o700 }

const driver = (folders = stateFolders(takeover)): Lock.Driver => ({
  keyOf: ({ id }) => Effect.succeed(id),
  attempt: (at, name, restore) =>
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
    ),
  status: folders.status,
  list: Effect.succeed([]),
  cleanup: () => Effect.succeed(0),
  heartbeat: "5 seconds",
  // A process that was stopped for long still owns its journal, unless another one has taken it.
  patience: Number.POSITIVE_INFINITY,
  poll: "50 millis"
})

/**
 * The lock of a journal is the journal's own folder, which names its owner. So a
 * process that finds a journal learns whether its transaction lives, whatever
 * locks the two use, and of two that find one of a dead process one undoes it.
 */
export const journalLocks = (): Lock.Service => Lock.make(driver())

export const journalLock = (folder: string): Lock.Name => ({ kind: "file transaction", id: folder })
