import * as RetryPolicy from "../resilience/RetryPolicy.js"

/** Waits for a database that another process writes to. */
export const busyPolicy = (busyMillis: number) =>
  RetryPolicy.exponential({
    maxRetries: Number.POSITIVE_INFINITY,
    initialDelay: 1,
    maxDelay: 50,
    jitter: "equal",
    maxElapsed: busyMillis
  })
