import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type * as Storage from "../../../storage/Storage.js"
import type { QueueHealth } from "../../Worker.js"

/** Of the queues of the worker, and of those with open runs. */
export const queueHealth = (
  counts: ReadonlyArray<Storage.QueueCount>,
  own: ReadonlyArray<Storage.QueueLimits>,
  now: number
): ReadonlyArray<QueueHealth> => {
  const names = [...new Set([...own, ...counts.map(({ queue }) => ({ name: queue }))].map(({ name }) => name))]
  return names.sort().map((queue) => {
    const { due = 0, oldest, running = 0, waiting = 0 } = counts.find((count) => count.queue === queue) ?? {}
    const oldestDue = Option.map(Option.fromNullable(oldest), (since) => Duration.millis(Math.max(0, now - since)))
    return { queue, isTaken: own.some(({ name }) => name === queue), running, due, waiting, oldestDue }
  })
}
