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
    Effect.suspend(() => Stream.fromPubSub(this.pubsub, { scoped: true }))
  )
}
