import * as Effect from "effect/Effect"
import type * as Strategy from "../../../resilience/Strategy.js"
import type * as Storage from "../../../storage/Storage.js"
import { priors } from "./candidates.js"
import { estimate, learnedOf } from "./learned.js"
import { placeOf } from "./place.js"

/**
 * Orders strategies by what they came to. A storage in trouble knows nothing:
 * then the order is the one they are written in.
 */
export const rankBy =
  (storage: Storage.Service): Strategy.Rank =>
  ({ fault: { category, fingerprint }, source }, names) =>
    Effect.match(learnedOf(storage, { category, fingerprint, place: placeOf(source) }), {
      onFailure: () => names,
      onSuccess: (learned) =>
        names
          .map((name) => ({ name, confidence: estimate(priors[name]?.[0] ?? 0.5, name, learned) }))
          .sort((a, b) => b.confidence - a.confidence)
          .map(({ name }) => name)
    })
