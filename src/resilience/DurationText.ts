import * as Duration from "effect/Duration"

/** A duration as people read it, such as `503ms`, `1s 500ms` or `2m 3s`: a measured one has nanoseconds. */
export const durationText = (input: Duration.DurationInput): string => {
  const duration = Duration.decode(input)
  const millis = Duration.toMillis(duration)
  if (!Number.isFinite(millis)) return Duration.format(duration)
  const unit = millis < 1_000 ? 1 : millis < 60_000 ? 100 : 1_000
  const rounded = Math.round(millis / unit) * unit
  return Duration.format(Duration.millis(rounded === 0 && millis > 0 ? 1 : rounded))
}
