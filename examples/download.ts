/**
 * A download that is cut off continues at the byte where it stopped, and shows
 * how far it is. What is already here lives outside of the attempt, so the
 * next attempt finds it.
 */
import { Data, Effect, Stream } from "effect"
import { Fault, Recovery, RetryPolicy, Strategy } from "effect-recovery"

export class CutOff extends Data.TaggedError("CutOff")<{ readonly received: number; readonly cause: unknown }> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
}
export class Refused extends Data.TaggedError("Refused")<{ readonly url: string; readonly status: number }> {}

export interface Progress {
  readonly attempt: number
  readonly received: number
}

export const download = (url: string, onProgress: (progress: Progress) => void) =>
  Effect.suspend(() => {
    let parts: Array<Uint8Array> = []
    let received = 0
    let attempt = 0
    const cutOff = (cause: unknown) => new CutOff({ received, cause })

    const startOver = () => {
      parts = []
      received = 0
    }

    const request = Effect.tryPromise({
      try: (signal) => fetch(url, { signal, headers: received > 0 ? { range: `bytes=${received}-` } : {} }),
      catch: cutOff
    })

    const rest = Effect.gen(function* () {
      attempt++
      const response = yield* request
      // The file is not the one it was: what is here is of no use.
      if (response.status === 416) {
        startOver()
        return yield* cutOff("the file has changed")
      }
      if (!response.ok || response.body === null) return yield* new Refused({ url, status: response.status })
      // A server that does not know ranges begins at the beginning again.
      if (response.status !== 206) startOver()
      const body = response.body
      yield* Stream.fromReadableStream(() => body, cutOff).pipe(
        Stream.runForEach((part) =>
          Effect.sync(() => {
            parts.push(part)
            received += part.length
            onProgress({ attempt, received })
          })
        )
      )
    })

    return rest.pipe(
      Recovery.recover(
        {
          CutOff: Strategy.retry(RetryPolicy.exponential({ maxRetries: 10, initialDelay: "10 millis", jitter: "full" }))
        },
        { name: "download" }
      ),
      Effect.map(() => Buffer.concat(parts))
    )
  })
