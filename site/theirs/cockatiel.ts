import * as cockatiel from "cockatiel"

const policy = cockatiel.wrap(
  cockatiel.bulkhead(20, 100),
  cockatiel.retry(cockatiel.handleAll, { maxAttempts: 5, backoff: new cockatiel.ExponentialBackoff() }),
  cockatiel.circuitBreaker(cockatiel.handleAll, {
    halfOpenAfter: 30_000,
    breaker: new cockatiel.ConsecutiveBreaker(5)
  }),
  cockatiel.timeout(2_000, cockatiel.TimeoutStrategy.Aggressive)
)

export const rate = (currency: string) =>
  policy.execute(({ signal }) =>
    fetch(`https://rates.example/${currency}`, { signal: signal as AbortSignal }).then((response) => response.text())
  )
