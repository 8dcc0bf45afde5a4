import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Storage from "../../../storage/Storage.js"

/** Starts of rated queues by this worker: they tell when the rate has a place again. */
export class Starts {
  private readonly rated: ReadonlyMap<string, number>
  /** When the places end that the starts of each queue have taken, in their order. */
  private readonly ends = new Map<string, ReadonlyArray<number>>()

  constructor(queues: ReadonlyArray<Storage.QueueLimits>) {
    this.rated = new Map(queues.flatMap(({ name, rate }) => (rate === undefined ? [] : [[name, rate.millis]])))
  }

  /** A run that was claimed now. One that resumes takes no place: it was started before it was claimed. */
  add({ dueAt, queue, startedAt }: Storage.Run): void {
    const millis = queue && this.rated.get(queue.name)
    if (queue === undefined || millis === undefined || startedAt === undefined || startedAt !== dueAt) return
    this.ends.set(queue.name, [...this.endsAfter(queue.name, startedAt), startedAt + millis])
  }

  /**
   * When a due run of a rated queue may start, by the process's clock; infinite if none waits for a rate. Other workers
   * may have taken the places that this worker does not know of, so it asks again after a whole period at the latest.
   * A worker that has no place itself looks again when it has one.
   */
  nextPlace(
    storage: Storage.Service,
    worker: { readonly hasPlaces: boolean }
  ): Effect.Effect<number, Storage.StorageError> {
    return Effect.suspend(() =>
      this.rated.size > 0 && worker.hasPlaces ? this.nextTime(storage) : Effect.succeed(Number.POSITIVE_INFINITY)
    )
  }

  private nextTime(storage: Storage.Service): Effect.Effect<number, Storage.StorageError> {
    return Effect.map(Effect.all([storage.queues, storage.now, Clock.currentTimeMillis]), ([counts, storeNow, now]) => {
      const pauses = counts.map(({ due, queue }) =>
        due === 0 ? Number.POSITIVE_INFINITY : this.pause(queue, storeNow)
      )
      return now + Math.min(Number.POSITIVE_INFINITY, ...pauses)
    })
  }

  private pause(queue: string, now: number): number {
    const millis = this.rated.get(queue)
    if (millis === undefined) return Number.POSITIVE_INFINITY
    const pause = (this.endsAfter(queue, now)[0] ?? now + millis) - now
    // It is longer than the period after the clock was set back.
    return Math.max(shortestPause, Math.min(pause, millis))
  }

  private endsAfter(queue: string, now: number): ReadonlyArray<number> {
    return (this.ends.get(queue) ?? []).filter((end) => end > now)
  }
}

/** A queue of a high rate is asked for several places at once, in milliseconds. */
const shortestPause = 10
