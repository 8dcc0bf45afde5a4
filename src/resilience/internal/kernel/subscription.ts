import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Listenable } from "./feed.js"

/** Streams the elements from now on. Elements between two reads wait in the queue, whose `offer` must never wait. */
export const subscription = <A>(
  feed: Listenable<A>,
  made: Effect.Effect<Queue.Queue<A>>
): Effect.Effect<Stream.Stream<A>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.map(made, (queue) => ({
        queue,
        stop: feed.listen((element) => void Effect.runSync(Queue.offer(queue, element)))
      })),
      ({ queue, stop }) => Effect.zipRight(Effect.sync(stop), Queue.shutdown(queue))
    ),
    // One element per chunk, so that a reader that stops leaves the rest in the queue.
    ({ queue }) => Stream.fromQueue(queue, { maxChunkSize: 1 })
  )
