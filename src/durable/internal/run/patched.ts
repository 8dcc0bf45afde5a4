import * as Effect from "effect/Effect"
import * as live_ from "../execution/execution.js"
import { isBehind } from "../execution/replayOrder.js"

/** Whether changed code may be taken: decided once for each run, and told again. */
export const patched = (name: string): Effect.Effect<boolean, never, live_.Run> =>
  Effect.flatMap(live_.Run, (run) =>
    Effect.uninterruptible(
      Effect.suspend(() => {
        const { live } = run
        if (live.stopped !== undefined) return live_.stop(live, live.stopped)
        const key = `patch/${live_.escape(name)}`
        const known = live.journal.recorded.get(key)
        if (known !== undefined) return Effect.succeed(known.payload === "true")
        // A run that has already done what comes after was made by the code before the change.
        const isNew = !isBehind(live)
        if (live.rewinding || live.replays.size > 0) return Effect.succeed(isNew)
        const entry = live_.nextEntry(live, "Patched", key, 0, String(isNew))
        live.journal.recorded.set(key, entry)
        return Effect.as(live_.appendAll(live, [entry]), isNew)
      })
    )
  )
