import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** Options become values or null, durations milliseconds, dates ISO texts. */
export const toJson = (value: unknown): unknown => {
  if (Option.isOption(value)) return Option.isSome(value) ? toJson(value.value) : null
  if (Duration.isDuration(value)) return Duration.toMillis(value)
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return value.map(toJson)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, one]) => (one === undefined ? [] : [[name, toJson(one)]]))
  )
}
