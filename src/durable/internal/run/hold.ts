import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type RunHeld, RunNotFound } from "../../../journal/RunError.js"
import * as Storage from "../../../storage/Storage.js"
import { runHeld } from "../execution/control.js"

/** The id of the hold that a person places. */
const manual = "manual"

/** A recovery ends its own hold. Any other one is ended by a person. */
const ofRecovery = ({ hold, id }: Storage.Run): RunHeld | undefined =>
  hold?.id.startsWith("recovery/") === true ? runHeld(id, hold) : undefined

/** Places the hold of a person. `by` is part of its reason. A run that waits for a person stays on hold as it is. */
export const hold = (run: string, { by, reason }: { readonly reason: string; readonly by?: string | undefined }) =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.flatMap(
      storage.hold(run, { id: manual, reason: by === undefined ? reason : `${reason} (${by})` }),
      (holding): Effect.Effect<void, RunNotFound | RunHeld> =>
        holding._tag === "Unknown" ? Effect.fail(new RunNotFound({ run })) : (ofRecovery(holding.run) ?? Effect.void)
    )
  )

/** Ends the hold that waits for a person. Fails if a recovery has the run on hold. */
export const release = (run: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const found = yield* storage.find(run)
    if (Option.isNone(found)) return yield* new RunNotFound({ run })
    const { hold } = found.value
    const held = ofRecovery(found.value)
    if (held !== undefined) return yield* held
    return hold === undefined ? false : yield* storage.releaseHold(run, hold.id)
  })
