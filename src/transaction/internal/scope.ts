import * as Effect from "effect/Effect"

/**
 * A transaction without a run, from its beginning to its end, and the one it is
 * a part of. What it has done belongs to that one, once it is over.
 */
export class Part {
  private over = false
  private readonly waiting = new Set<() => void>()
  readonly parent: Part | undefined

  constructor(parent: Part | undefined) {
    this.parent = parent
  }

  get isOver(): boolean {
    return this.over
  }

  /** Who answers for what it has done: the innermost one that is not over; nobody, if the outermost one is. */
  get living(): Part | undefined {
    return this.over ? this.parent?.living : this
  }

  isWithin(other: Part): boolean {
    return this === other || this.parent?.isWithin(other) === true
  }

  end(): void {
    this.over = true
    for (const resume of this.waiting) resume()
    this.waiting.clear()
  }

  /** Waits for its end. */
  readonly ended: Effect.Effect<void> = Effect.async((resume) => {
    if (this.over) return resume(Effect.void)
    const listener = () => resume(Effect.void)
    this.waiting.add(listener)
    return Effect.sync(() => this.waiting.delete(listener))
  })
}
