import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { liveClock } from "../../resilience/internal/kernel/timer.js"
import { changesOf } from "../internal/changes.js"
import type { Query } from "./session.js"

/**
 * Processes tell each other which runs have changed. What they say is a hint: it is
 * sent after the commit, in batches, because every transaction that notifies holds
 * a lock of the whole server while it commits.
 */
export interface Hints {
  /** Sends the id of a run that changed, once there is a connection to send over. */
  readonly send: (run: string) => void
  /** Sends until the scope closes. What cannot be sent is sent with the next batch. */
  readonly sendOver: (query: Query) => Effect.Effect<void, never, Scope.Scope>
  /** Takes what another process has sent. */
  readonly receive: (payload: string) => void
  /** Tells the listeners of this process. */
  readonly tell: (run: string) => void
  /** What other processes have sent. */
  readonly changes: Stream.Stream<string>
}

/** Stands for any run: hints may have been lost, or were too many. No run has this id. */
export const anyRun = ""

/** A payload of the server has at most 8,000 bytes. Longer ones become `anyRun`. */
const maxPayload = 7_900
/** More runs than this become `anyRun`. */
const maxRuns = 200
/** Between two batches, in milliseconds. The first one is sent at once. */
const pauseMillis = 50

/** Its commit does not wait for the disk: a hint that a crash of the server takes is none. */
const notify = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)"

/** Payloads are JSON, without characters that a text of the server cannot have. */
const payloadOf = (runs: ReadonlyArray<string>): string => {
  const payload = JSON.stringify(runs)
  return runs.length > maxRuns || Buffer.byteLength(payload) > maxPayload ? JSON.stringify([anyRun]) : payload
}

/** What is no list of ids was sent by another program. */
const runsOf = (payload: string): ReadonlyArray<string> => {
  try {
    const runs: unknown = JSON.parse(payload)
    return Array.isArray(runs) ? runs.filter((run) => typeof run === "string") : []
  } catch {
    return []
  }
}

/** Made before the connection: hints may arrive as soon as that listens. */
export const makeHints = (channel: string): Effect.Effect<Hints> =>
  Effect.gen(function* () {
    const listeners = new Set<(run: string) => void>()
    const waiting = new Set<string>()
    const wake = yield* Queue.dropping<void>(1)

    const flush = (query: Query): Effect.Effect<unknown, SqlError> =>
      Effect.suspend(() => {
        const runs = [...waiting]
        waiting.clear()
        const sent = query(notify, [channel, payloadOf(runs)])
        return Effect.tapError(sent, () =>
          Effect.sync(() => {
            for (const run of runs.length > maxRuns ? [anyRun] : runs) waiting.add(run)
            Queue.unsafeOffer(wake, undefined)
          })
        )
      })

    const tell = (run: string) => {
      for (const listener of [...listeners]) listener(run)
    }
    return {
      send: (run) => {
        if (waiting.size <= maxRuns) waiting.add(run)
        Queue.unsafeOffer(wake, undefined)
      },
      sendOver: (query) => {
        const sent = Effect.zipRight(Effect.ignore(flush(query)), Effect.sleep(pauseMillis))
        const batches = Effect.forever(Effect.zipRight(Queue.take(wake), sent))
        return Effect.asVoid(Effect.forkScoped(Effect.withClock(Effect.interruptible(batches), liveClock)))
      },
      receive: (payload) => runsOf(payload).forEach(tell),
      tell,
      changes: changesOf(listeners)
    }
  })
