import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { liveClock } from "../../resilience/internal/kernel/timer.js"
import { changesOf } from "../internal/changes.js"
import type { Change } from "../Store.js"
import type { Query } from "./session.js"

/**
 * Processes tell each other which runs have changed. What they say is a hint: it is
 * sent after the commit, in batches, because every transaction that notifies holds
 * a lock of the whole server while it commits.
 */
export interface Hints {
  /** Sends the id of a run that changed, and whether it may be due by that, once there is a connection to send over. */
  readonly send: (run: string, isDue: boolean) => void
  /** Sends until the scope closes. What cannot be sent is sent with the next batch. */
  readonly sendOver: (query: Query) => Effect.Effect<void, never, Scope.Scope>
  /** Takes what another process has sent. */
  readonly receive: (payload: string) => void
  /** Tells the listeners of this process. */
  readonly tell: (change: Change) => void
  /** What other processes have sent. */
  readonly changes: Stream.Stream<Change>
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

/**
 * Payloads are JSON, without characters that a text of the server cannot have: the runs that may be due, then others,
 * then the number of those that may be due. Earlier builds do not read that number, and send none.
 */
const payloadOf = (runs: ReadonlyMap<string, boolean>): string => {
  const due = [...runs].flatMap(([run, isDue]) => (isDue ? [run] : []))
  const others = [...runs].flatMap(([run, isDue]) => (isDue ? [] : [run]))
  const payload = JSON.stringify([...due, ...others, due.length])
  const isShort = !runs.has(anyRun) && Buffer.byteLength(payload) <= maxPayload
  return isShort ? payload : JSON.stringify([anyRun, Math.min(due.length, 1)])
}

/** What is no such list was sent by another program. */
const changesIn = (payload: string): ReadonlyArray<Change> => {
  try {
    const sent: unknown = JSON.parse(payload)
    if (!Array.isArray(sent)) return []
    const last: unknown = sent.at(-1)
    const due = typeof last === "number" ? last : sent.length
    return sent.flatMap((run, i) => (typeof run === "string" ? [{ run, isDue: i < due }] : []))
  } catch {
    return []
  }
}

/** Made before the connection: hints may arrive as soon as that listens. */
export const makeHints = (channel: string): Effect.Effect<Hints> =>
  Effect.gen(function* () {
    const listeners = new Set<(change: Change) => void>()
    /** Whether each run may be due. */
    const waiting = new Map<string, boolean>()
    const wake = yield* Queue.dropping<void>(1)

    const flush = (query: Query): Effect.Effect<unknown, SqlError> =>
      Effect.suspend(() => {
        const runs = new Map(waiting)
        waiting.clear()
        const sent = query(notify, [channel, payloadOf(runs)])
        return Effect.tapError(sent, () =>
          Effect.sync(() => {
            for (const [run, isDue] of runs) send(run, isDue)
          })
        )
      })

    const send = (run: string, isDue: boolean) => {
      const one = waiting.size < maxRuns || waiting.has(run) ? run : anyRun
      waiting.set(one, isDue || waiting.get(one) === true)
      Queue.unsafeOffer(wake, undefined)
    }
    const tell = (change: Change) => {
      for (const listener of [...listeners]) listener(change)
    }
    return {
      send,
      sendOver: (query) => {
        const sent = Effect.zipRight(Effect.ignore(flush(query)), Effect.sleep(pauseMillis))
        const batches = Effect.forever(Effect.zipRight(Queue.take(wake), sent))
        return Effect.asVoid(Effect.forkScoped(Effect.withClock(Effect.interruptible(batches), liveClock)))
      },
      receive: (payload) => changesIn(payload).forEach(tell),
      tell,
      changes: changesOf(listeners)
    }
  })
