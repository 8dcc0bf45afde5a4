import * as Effect from "effect/Effect"

/** After a turn, fibers that were about to run have run, and interruptions caused by the last one are done. */
export const nextTurn: (run: () => void) => void =
  typeof setImmediate === "function" ? (run) => void setImmediate(run) : (run) => void setTimeout(run, 0)

/** How long one turn of the event loop resumes what waits, in milliseconds. The last one that is resumed may exceed it. */
export const sliceMillis = 5

/**
 * Resumes fibers in their order, for a slice of each turn of the event loop. Fibers that
 * are resumed together run one after the other before any timer or socket: thousands
 * of them would stop the event loop for a second.
 */
export class Slices {
  private waiting: Array<() => void> = []
  /** The index of the first one that waits: `shift` of a long array takes time. */
  private first = 0
  private isRunning = false
  private began = 0
  private readonly now: () => number
  private readonly onEmpty: () => void

  /** `onEmpty` is called once the last one was resumed. */
  constructor(now: () => number, onEmpty: () => void) {
    this.now = now
    this.onEmpty = onEmpty
  }

  /** Whether one waits that was added before. */
  get isWaiting(): boolean {
    return this.first < this.waiting.length
  }

  /** Resumes at once if none is resumed now, and in its order otherwise. */
  add(resume: () => void): void {
    if (this.isRunning) return void this.waiting.push(resume)
    this.isRunning = true
    this.began = this.now()
    resume()
    queueMicrotask(this.resumeNext)
  }

  private readonly beginSlice = (): void => {
    this.began = this.now()
    this.resumeNext()
  }

  /** One at a time: what a fiber does when it is resumed, it does in a microtask, before the next one is resumed. */
  private readonly resumeNext = (): void => {
    const resume = this.waiting[this.first]
    if (resume === undefined) {
      this.waiting = []
      this.first = 0
      this.isRunning = false
      this.onEmpty()
    } else if (this.now() - this.began >= sliceMillis) nextTurn(this.beginSlice)
    else {
      this.first++
      resume()
      queueMicrotask(this.resumeNext)
    }
  }
}

/** Ends in the next turn of the event loop. */
export const eventLoopTurn: Effect.Effect<void> = Effect.async((resume) => nextTurn(() => resume(Effect.void)))

/**
 * Maps each item, for a slice of each turn of the event loop: thousands of rows, or few that are large, take longer than
 * one turn may. Items that fit in one slice wait for no turn. Dies of what `map` throws.
 */
export const mapInSlices = <A, B>(
  items: ReadonlyArray<A>,
  map: (item: A, index: number) => B,
  now: () => number = () => performance.now()
): Effect.Effect<Array<B>> =>
  Effect.suspend(() => {
    const mapped: Array<B> = []
    const slice: Effect.Effect<Array<B>> = Effect.suspend(() => {
      const until = now() + sliceMillis
      while (mapped.length < items.length) {
        const i = mapped.length
        mapped.push(map(items[i] as A, i))
        if (now() >= until && mapped.length < items.length) return Effect.zipRight(eventLoopTurn, slice)
      }
      return Effect.succeed(mapped)
    })
    return slice
  })
