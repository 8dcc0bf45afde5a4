import * as Effect from "effect/Effect"

/** A place in the line. Handed a place, it no longer waits, so that nobody who comes later can take it. */
export class Turn {
  private isThere = false
  private resume: (() => void) | undefined

  come(): void {
    this.isThere = true
    this.resume?.()
  }

  readonly wait: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.isThere) return resume(Effect.void)
    this.resume = () => resume(Effect.void)
  })
}

/** Places, and those who wait for one: first in, first out. A semaphore would let late comers pass. */
export class Line {
  private taken = 0
  // A Set keeps its order, and gives up a waiter in the middle without a search.
  private readonly turns = new Set<Turn>()
  private readonly places: number

  constructor(places: number) {
    this.places = places
  }

  get running(): number {
    return this.taken
  }

  get waiting(): number {
    return this.turns.size
  }

  /** Takes a place, if there is one. */
  tryEnter(): boolean {
    if (this.taken >= this.places) return false
    this.taken++
    return true
  }

  /** Queues up. Whoever stops waiting for its turn must give it up. */
  queue(): Turn {
    const turn = new Turn()
    this.turns.add(turn)
    return turn
  }

  /** Gives the place to the next one. */
  leave(): void {
    const [next] = this.turns
    if (next === undefined) {
      this.taken--
      return
    }
    this.turns.delete(next)
    next.come()
  }

  /** Who was handed a place, but could not take it any more, passes it on. */
  giveUp(turn: Turn): void {
    if (!this.turns.delete(turn)) this.leave()
  }
}
