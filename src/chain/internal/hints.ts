/** What a failure of a category asks to be changed; by its shape, so that no word in a message is taken for another. */
export const hints: Readonly<Record<string, Readonly<Record<string, string | number | boolean>>>> = {
  timeout: { maxIterations: 2, timeout: "60 seconds" },
  "rate-limit": { retryDelay: "5 seconds", maxRetries: 3 },
  resource: { batchSize: 1, maxContextLength: 2_000 },
  validation: { strict: false, allowPartialResults: true }
}
