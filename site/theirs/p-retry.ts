import pRetry, { AbortError } from "p-retry"

const get = async (url: string) => {
  const response = await fetch(url)
  if (response.status === 404) throw new AbortError("not found")
  return response.text()
}

export const text = (url: string) => pRetry(() => get(url), { retries: 5, minTimeout: 1_000, randomize: true })
