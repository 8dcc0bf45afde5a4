import * as Duration from "effect/Duration"

/** The milliseconds of a duration; below zero or NaN if it is negative, NaN if it is none. */
export const millisOrNaN = (value: Duration.DurationInput): number => {
  if (typeof value === "number") return value
  if (typeof value === "bigint") return Number(value) / 1e6
  if (Array.isArray(value)) return value.some((part) => !(part >= 0)) ? Number.NaN : Duration.toMillis(value)
  if (typeof value === "string" && value.trimStart().startsWith("-")) return Number.NaN
  try {
    return Duration.toMillis(value)
  } catch {
    return Number.NaN
  }
}
