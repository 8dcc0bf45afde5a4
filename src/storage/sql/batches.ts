import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { StorageError } from "../StorageError.js"

/** One request that waits, with what it asks for. */
export interface Waiting<Q> {
  readonly request: Q
  /** Answers the caller, if it still waits. */
  readonly answer: (exit: Exit.Exit<unknown, unknown>) => void
}

export interface Batches<Q> {
  /** Waits for a batch that has the request, and for its end. A request that no batch has taken yet can be interrupted. */
  readonly submit: <A, E>(operation: string, request: Q) => Effect.Effect<A, E | StorageError>
}

/** Large enough to share a commit, small enough to let other statements in. */
const maxBatch = 512

/**
 * Requests that wait together are carried out together, first in, first out, one
 * batch at a time. `flush` answers each request. It runs in the background, so a
 * caller that is interrupted cannot stop it half way. Requests that wait when the
 * scope closes fail with `Closed`.
 */
export const makeBatches = <Q>(
  flush: (batch: ReadonlyArray<Waiting<Q>>) => Effect.Effect<void>
): Effect.Effect<Batches<Q>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime<never>()
    const queue: Array<Waiting<Q> & { readonly operation: string }> = []
    let state: "idle" | "busy" | "closed" = "idle"

    const closed = (operation: string) => new StorageError({ reason: "Closed", operation })

    const drain: Effect.Effect<void> = Effect.suspend(() => {
      if (queue.length === 0) {
        if (state === "busy") state = "idle"
        return Effect.void
      }
      return Effect.zipRight(flush(queue.splice(0, maxBatch)), drain)
    })

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        state = "closed"
        for (const { answer, operation } of queue.splice(0)) answer(Exit.fail(closed(operation)))
      })
    )

    return {
      submit: <A, E>(operation: string, request: Q) =>
        Effect.async<A, E | StorageError>((resume) => {
          if (state === "closed") return resume(Effect.fail(closed(operation)))
          const waiting = { operation, request, answer: resume as Waiting<Q>["answer"] } // the flush answers what the request asks for
          queue.push(waiting)
          if (state === "idle") {
            state = "busy"
            // Yields once, so that the requests of all fibers that run now share the batch.
            Runtime.runFork(runtime)(Effect.uninterruptible(Effect.zipRight(Effect.yieldNow(), drain)))
          }
          return Effect.sync(() => {
            const index = queue.indexOf(waiting)
            if (index >= 0) queue.splice(index, 1)
          })
        })
    }
  })
