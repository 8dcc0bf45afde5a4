import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type RunHeld, RunNotFound } from "../../../journal/RunError.js"
import * as Storage from "../../../storage/Storage.js"
import { runHeld } from "../execution/control.js"

/** The id of the hold that a person places. */
export const manual = "manual"

/** Places the hold of a person. `by` is part of its reason. */
export const hold = (run: string, { by, reason }: { readonly reason: string; readonly by?: string | undefined }) =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.flatMap(
      storage.hold(run, { id: manual, reason: by === undefined ? reason : `${reason} (${by})` }),
      (holding): Effect.Effect<void, RunNotFound | RunHeld> => {
        if (holding._tag === "Unknown") return Effect.fail(new RunNotFound({ run }))
        return holding._tag === "Held" ? Effect.void : refusal(holding.run)
      }
    )
  )

/** Ends the hold of a person. Fails if a recovery has the run on hold. */
export const release = (run: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    if (yield* storage.releaseHold(run, manual)) return true
    const found = yield* storage.find(run)
    if (Option.isNone(found)) return yield* new RunNotFound({ run })
    yield* refusal(found.value)
    return false
  })

/** A hold that is not that of a person. */
const refusal = ({ hold, id }: Storage.Run): Effect.Effect<void, RunHeld> =>
  hold === undefined || hold.id === manual ? Effect.void : Effect.fail(runHeld(id, hold))
