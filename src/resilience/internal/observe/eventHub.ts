import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Event } from "../../Events.js"

/** Whoever watches the present program. */
export interface Watch {
  /** Whether anybody does; the event need not be made if not. */
  readonly isOn: () => boolean
  readonly emit: (event: Event) => Effect.Effect<void>
}

/** A stream that may be read piece by piece; what comes between two readings waits for the second. */
export const subscription = <A>(hub: PubSub.PubSub<A>): Effect.Effect<Stream.Stream<A>, never, Scope.Scope> =>
  Effect.map(PubSub.subscribe(hub), (queue) => Stream.fromQueue(queue, { maxChunkSize: 1 }))

const capacity = 1_024

/** A hub that knows whether anybody reads it, so that nothing is made for nobody. */
export class EventHub {
  private readers = 0
  private readonly pubsub = Effect.runSync(PubSub.sliding<Event>(capacity))

  get isRead(): boolean {
    return this.readers > 0
  }

  publish(event: Event): void {
    // A sliding hub publishes without waiting, so this ends here and now.
    if (this.isRead) Effect.runSync(PubSub.publish(this.pubsub, event))
  }

  readonly subscribe: Effect.Effect<Stream.Stream<Event>, never, Scope.Scope> = Effect.zipRight(
    Effect.acquireRelease(
      Effect.sync(() => {
        this.readers++
      }),
      () =>
        Effect.sync(() => {
          this.readers--
        })
    ),
    Effect.suspend(() => subscription(this.pubsub))
  )
}
