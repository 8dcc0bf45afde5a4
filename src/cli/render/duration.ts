/** With a digit after the point, unless it is 0. */
const oneDigit = (value: number): string => value.toFixed(1).replace(/\.0$/, "")

/** Milliseconds in words, such as `1.5 s`. */
export const duration = (millis: number): string => {
  if (millis < 1_000) return `${Math.round(millis)} ms`
  if (millis < 120_000) return `${oneDigit(millis / 1_000)} s`
  if (millis < 7_200_000) return `${oneDigit(millis / 60_000)} min`
  return millis < 172_800_000 ? `${oneDigit(millis / 3_600_000)} h` : `${oneDigit(millis / 86_400_000)} d`
}
