import * as Effect from "effect/Effect"

/** A waiting caller. A granted permit belongs to it, so that a later caller cannot take the permit first. */
export class Waiter {
  private isGranted = false
  private resume: (() => void) | undefined

  grant(): void {
    this.isGranted = true
    this.resume?.()
  }

  readonly wait: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.isGranted) return resume(Effect.void)
    this.resume = () => resume(Effect.void)
  })
}

/** A fixed number of permits with a first-in, first-out queue. `Effect.Semaphore` lets later callers overtake. */
export class FifoQueue {
  private taken = 0
  // A Set keeps insertion order and removes a waiter from the middle without a search.
  private readonly waiters = new Set<Waiter>()
  private readonly permits: number

  constructor(permits: number) {
    this.permits = permits
  }

  get running(): number {
    return this.taken
  }

  get waiting(): number {
    return this.waiters.size
  }

  /** Takes a permit if one is free. */
  tryAcquire(): boolean {
    if (this.taken >= this.permits) return false
    this.taken++
    return true
  }

  /** Adds a waiter. A caller that stops waiting must `cancel` it. */
  enqueue(): Waiter {
    const waiter = new Waiter()
    this.waiters.add(waiter)
    return waiter
  }

  /** Passes the permit to the first waiter, or frees it. */
  release(): void {
    if (this.waiters.size === 0) {
      this.taken--
      return
    }
    const [next] = this.waiters
    if (next === undefined) return
    this.waiters.delete(next)
    next.grant()
  }

  /** Removes a waiter. If it was already granted a permit, releases the permit. */
  cancel(waiter: Waiter): void {
    if (!this.waiters.delete(waiter)) this.release()
  }
}
