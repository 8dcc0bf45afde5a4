const times = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" })

export const time = (iso: string | null | undefined): string => (iso ? times.format(new Date(iso)) : "")

const steps = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000]
] as const

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" })

export const ago = (iso: string): string => {
  const millis = new Date(iso).getTime() - Date.now()
  const [unit, size] = steps.find(([, one]) => Math.abs(millis) >= one) ?? ["second", 1_000]
  return relative.format(Math.round(millis / size), unit)
}

export const percent = (share: number | null): string => (share === null ? "–" : `${Math.round(share * 100)} %`)

export const millis = (value: number): string => {
  if (value < 1_000) return `${Math.round(value)} ms`
  if (value < 120_000) return `${oneDigit(value / 1_000)} s`
  return value < 7_200_000 ? `${oneDigit(value / 60_000)} min` : `${oneDigit(value / 3_600_000)} h`
}

/** With a digit after the point, unless it is 0. */
const oneDigit = (value: number): string => value.toFixed(1).replace(/\.0$/, "")

export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`

/** A key as its parts were named: keys escape the punctuation that joins them. */
export const readableKey = (key: string): string => key.replace(/%(25|2F|23|5B|5D|7E)/g, decodeURIComponent)

/** `AttemptStarted` and `attempt_started` become `Attempt started`. */
export const words = (name: string): string => {
  const spaced = name
    .replace(/_/g, " ")
    .replace(/([a-z])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`)
  return spaced.charAt(0).toUpperCase() + spaced.slice(1)
}
