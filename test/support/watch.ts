import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

/** The value of a counter or gauge by name and tags; 0 if it does not exist. */
export const metric = (name: string, tags: Readonly<Record<string, string>>): Effect.Effect<number> =>
  Effect.map(Metric.snapshot, (pairs) => {
    const found = pairs.find(
      ({ metricKey }) =>
        metricKey.name === `effect_recovery_${name}` &&
        metricKey.tags.length === Object.keys(tags).length &&
        metricKey.tags.every(({ key, value }) => tags[key] === value)
    )
    const state: object | undefined = found?.metricState
    if (state === undefined) return 0
    return "count" in state ? Number(state.count) : "value" in state ? Number(state.value) : Number.NaN
  })
