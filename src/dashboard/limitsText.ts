/** The limits of a queue in words, for the page and the command line. Imports nothing but types. */
import type { Value } from "../operate/OperatorRequests.js"

type Limits = NonNullable<Value<"Queues">[number]["limits"]>

/** `4 at once, 1 per key, 100 starts in 60 s`. `duration` puts milliseconds into words. */
export const limitsText = ({ concurrency, perKey, rate }: Limits, duration: (millis: number) => string): string => {
  const starts = rate && `${rate.limit} starts in ${duration(rate.millis)}${rate.perKey ? " per key" : ""}`
  const parts = [concurrency && `${concurrency} at once`, perKey && `${perKey} per key`, starts]
  return parts.filter(Boolean).join(", ") || "none"
}
