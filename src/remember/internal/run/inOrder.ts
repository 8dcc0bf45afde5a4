import * as Effect from "effect/Effect"

interface Held {
  readonly seq: number
  readonly resume: () => void
}

/**
 * Answers of a resume, for the fibers beside the body's own. Given as they come,
 * a race would be won by whoever asks first; so they are given one after the
 * other, in the order in which the journal has them, each with a moment for what
 * follows from it.
 */
export interface InOrder {
  readonly held: Set<Held>
  isGiving: boolean
}

export const makeInOrder = (): InOrder => ({ held: new Set(), isGiving: false })

export const inOrder = (order: InOrder, seq: number): Effect.Effect<void> =>
  Effect.interruptible(
    Effect.async<void>((resume) => {
      const held: Held = { seq, resume: () => resume(Effect.void) }
      order.held.add(held)
      if (!order.isGiving) {
        order.isGiving = true
        Effect.runFork(give(order))
      }
      return Effect.sync(() => order.held.delete(held))
    })
  )

/** For whoever is on its way to ask, and for whoever is interrupted because of the answer before. */
const aMoment = Effect.repeatN(Effect.yieldNow(), 5)

const give = (order: InOrder): Effect.Effect<void> =>
  Effect.flatMap(aMoment, () => {
    let first: Held | undefined
    for (const held of order.held) if (first === undefined || held.seq < first.seq) first = held
    if (first === undefined) {
      order.isGiving = false
      return Effect.void
    }
    order.held.delete(first)
    first.resume()
    return give(order)
  })
