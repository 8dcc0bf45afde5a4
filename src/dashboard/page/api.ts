import type { Replies, Tag, Value } from "./model.js"

const stored = "effect-recovery-token"

/** Moves the token from the address to the session storage. Browsers do not send the part after # to servers. */
export const takeToken = (): void => {
  const given = /^#token=(.+)$/.exec(location.hash)?.[1]
  if (given === undefined) return
  setToken(decodeURIComponent(given))
  history.replaceState(null, "", "#/")
}

export const setToken = (token: string): void => sessionStorage.setItem(stored, token)

const headers = (): Record<string, string> => {
  const token = sessionStorage.getItem(stored)
  return token === null ? {} : { authorization: `Bearer ${token}` }
}

export class Refusal extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const messageOf = (body: unknown, fallback: string): string =>
  typeof body === "object" && body !== null && "message" in body ? String(body.message) : fallback

const send = async (path: string, init: RequestInit): Promise<Response> => {
  const response = await fetch(path, init)
  if (response.ok) return response
  const body: unknown = await response.json().catch(() => undefined)
  throw new Refusal(response.status, messageOf(body, response.statusText))
}

/** Reads the reply of request `T`. The server that serves this page has the same types. */
export const read = async <T extends keyof Replies>(path: string): Promise<Replies[T]> =>
  (await send(`/api${path}`, { headers: headers() })).json() as Promise<Replies[T]>

/** Sends an action, whose reply is of one of the table's types. */
export const act = async <T extends Tag>(
  path: string,
  payload: Readonly<Record<string, unknown>>
): Promise<Value<T>> => {
  const init = {
    method: "POST",
    headers: { ...headers(), "content-type": "application/json" },
    body: JSON.stringify(payload)
  }
  return (await send(`/api${path}`, init)).json() as Promise<Value<T>>
}

export interface Listener {
  readonly onEvent: (name: string, data: unknown) => void
  readonly onState: (state: "live" | "lost", why?: Refusal) => void
}

/** Listens until it is aborted, and reconnects with backoff. An EventSource could not send the token. */
export const listen = async (path: string, listener: Listener, signal: AbortSignal): Promise<void> => {
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const response = await send(`/api${path}`, { headers: headers(), signal })
      failures = 0
      listener.onState("live")
      if (response.body !== null) await readEvents(response.body, listener)
    } catch (error) {
      if (signal.aborted) return
      const refusal = error instanceof Refusal ? error : undefined
      listener.onState("lost", refusal)
      // Reconnecting does not help before the user has entered the token.
      if (refusal?.status === 401) return
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(10_000, 500 * 2 ** failures)))
  }
}

const readEvents = async (body: ReadableStream<Uint8Array>, { onEvent }: Listener): Promise<void> => {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ""
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n\n")
    rest = parts.pop() ?? ""
    for (const part of parts) {
      const [, name, data] = /^event: (.*)\ndata: (.*)$/s.exec(part) ?? []
      if (name !== undefined && data !== undefined) onEvent(name, JSON.parse(data))
    }
  }
}
