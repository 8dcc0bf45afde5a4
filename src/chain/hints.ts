/**
 * Parameters to change after a failure.
 *
 * @since 0.1.0
 */

/**
 * Parameters to change after a failure, by the category of the failure.
 *
 * @since 0.1.0
 * @category suggestions
 */
export const hints: Readonly<Record<string, Readonly<Record<string, string | number | boolean>>>> = {
  timeout: { maxIterations: 2, timeout: "60 seconds" },
  "rate-limit": { retryDelay: "5 seconds", maxRetries: 3 },
  resource: { batchSize: 1, maxContextLength: 2_000 },
  validation: { strict: false, allowPartialResults: true }
}
