import * as Effect from "effect/Effect"

interface Queued {
  readonly seq: number
  readonly resume: () => void
}

/**
 * Recorded results that fibers of a resumed run ask for. Handed out as they are
 * asked for, the fiber that asks first would win a race. So they are handed out
 * one by one in the order of the journal, each with a turn of the event loop for
 * its consequences.
 */
export interface AnswerQueue {
  /** Sorted; the last one is handed out first. */
  readonly queued: Array<Queued>
  isDraining: boolean
}

export const makeAnswerQueue = (): AnswerQueue => ({ queued: [], isDraining: false })

/**
 * Waits for the turn of a journal line. The turn always comes, so the wait stays
 * uninterruptible where the caller is.
 */
export const awaitAnswerTurn = (queue: AnswerQueue, seq: number, isInterruptible = true): Effect.Effect<void> => {
  const turn = Effect.async<void>((resume) => {
    const queued: Queued = { seq, resume: () => resume(Effect.void) }
    queue.queued.splice(indexFor(queue.queued, seq), 0, queued)
    if (!queue.isDraining) {
      queue.isDraining = true
      nextTurn(() => drain(queue))
    }
    return Effect.sync(() => {
      const at = queue.queued.indexOf(queued)
      if (at >= 0) queue.queued.splice(at, 1)
    })
  })
  return isInterruptible ? Effect.interruptible(turn) : turn
}

/** Where a line belongs in an array that is sorted with the highest line first. */
const indexFor = (queued: ReadonlyArray<Queued>, seq: number): number => {
  let low = 0
  let high = queued.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((queued[middle] as Queued).seq > seq) low = middle + 1
    else high = middle
  }
  return low
}

const drain = (queue: AnswerQueue): void => {
  const first = queue.queued.pop()
  if (first === undefined) {
    queue.isDraining = false
    return
  }
  first.resume()
  nextTurn(() => drain(queue))
}

/** After a turn, fibers that were about to ask have asked, and interruptions caused by the last answer are done. */
const nextTurn: (run: () => void) => void =
  typeof setImmediate === "function" ? (run) => void setImmediate(run) : (run) => void setTimeout(run, 0)
