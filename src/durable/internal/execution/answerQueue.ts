import * as Effect from "effect/Effect"

interface Held {
  readonly seq: number
  readonly resume: () => void
}

/**
 * Answers of a resume in which more than one fiber has its part. Given as they
 * come, a race would be won by whoever asks first; so they are given one after
 * the other, in the order in which the journal has them, each with a turn of the
 * event loop for what follows from it.
 */
export interface InOrder {
  /** The last one is the first to be given. */
  readonly held: Array<Held>
  isGiving: boolean
}

export const makeInOrder = (): InOrder => ({ held: [], isGiving: false })

/** Waits for the turn of a line of the journal; not interruptible where nothing was, since it comes for certain. */
export const inOrder = (order: InOrder, seq: number, isInterruptible = true): Effect.Effect<void> => {
  const turn = Effect.async<void>((resume) => {
    const held: Held = { seq, resume: () => resume(Effect.void) }
    order.held.splice(placeOf(order.held, seq), 0, held)
    if (!order.isGiving) {
      order.isGiving = true
      nextTurn(() => give(order))
    }
    return Effect.sync(() => {
      const at = order.held.indexOf(held)
      if (at >= 0) order.held.splice(at, 1)
    })
  })
  return isInterruptible ? Effect.interruptible(turn) : turn
}

/** Among those that are held, the later ones first. */
const placeOf = (held: ReadonlyArray<Held>, seq: number): number => {
  let low = 0
  let high = held.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((held[middle] as Held).seq > seq) low = middle + 1
    else high = middle
  }
  return low
}

const give = (order: InOrder): void => {
  const first = order.held.pop()
  if (first === undefined) {
    order.isGiving = false
    return
  }
  first.resume()
  nextTurn(() => give(order))
}

/** Whoever is on its way to ask has asked by then, and whoever is interrupted because of an answer is. */
const nextTurn: (run: () => void) => void =
  typeof setImmediate === "function" ? (run) => void setImmediate(run) : (run) => void setTimeout(run, 0)
