import * as Effect from "effect/Effect"
import type * as Events from "../../react/Events.js"
import { JournalError } from "../RunError.js"
import type { Definition } from "./definition.js"
import type { Kind, StepRecord } from "./journal.js"
import * as live_ from "./liveRun.js"

/** One use of a step within a run. */
export interface Use {
  readonly live: live_.LiveRun
  readonly definition: Definition
  readonly input: unknown
  readonly key: string
  readonly record: StepRecord | undefined
  readonly traced: boolean
  attempt?: number
}

export const sourceOf = (use: Use): Events.Source => ({ run: use.live.id, step: use.key })

export const journalError = (use: Use, reason: "Encode" | "Decode", what: string) => (cause: unknown) =>
  live_.stop(use.live, new JournalError({ reason, run: use.live.id, record: `${what} of step "${use.key}"`, cause }))

/** With best effort a storage in trouble is reported and the program goes on. */
export const append = (use: Use, kind: Kind, number: number, payload?: string, at?: number): Effect.Effect<void> =>
  use.definition.bestEffort
    ? Effect.catchAll(live_.tryAppend(use.live, kind, use.key, number, payload, at), (error) =>
        error._tag === "LeaseLost"
          ? live_.stop(use.live, error)
          : Effect.logWarning(`effect-recovery: step "${use.key}" goes on without its journal`, error)
      )
    : live_.append(use.live, kind, use.key, number, payload, at)
