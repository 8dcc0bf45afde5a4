/** Only V8 has `stackTraceLimit`. */
const errors: typeof Error & { stackTraceLimit?: number | undefined } = Error

/**
 * Makes an error without a stack: a refusal is an answer, made thousands of
 * times a second when a system is down, and where it was made is no news.
 */
export const withoutStack = <E extends Error>(make: () => E): E => {
  const limit = errors.stackTraceLimit
  errors.stackTraceLimit = 0
  try {
    return make()
  } finally {
    errors.stackTraceLimit = limit
  }
}
