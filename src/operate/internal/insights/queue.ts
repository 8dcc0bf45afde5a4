import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Queue from "effect/Queue"
import * as Storage from "../../../storage/Storage.js"
import type { Task } from "./observer.js"

/** What comes while so much waits for a storage that cannot be written is dropped. */
const longest = 10_000

/** Together they share a commit. */
const atOnce = 100

interface Waiter {
  readonly until: number
  readonly done: Deferred.Deferred<void>
}

/** Runs what it is handed in the background, batch by batch, and what is left when its scope closes. */
export const makeQueue = Effect.fnUntraced(function* (storage: Storage.Service) {
  const queue = yield* Queue.unbounded<Task>()
  let handed = 0
  let done = 0
  let isClosed = false
  const waiters = new Set<Waiter>()

  const run = (task: Task) =>
    task.pipe(
      Effect.provideService(Storage.Storage, storage),
      Effect.catchAllCause((cause) => Effect.logWarning("effect-recovery: a record could not be written", cause))
    )
  const wake = Effect.suspend(() => {
    const ready = [...waiters].filter(({ until }) => isClosed || until <= done)
    for (const waiter of ready) waiters.delete(waiter)
    return Effect.forEach(ready, (waiter) => Deferred.succeed(waiter.done, undefined), { discard: true })
  })
  const runAll = (tasks: Iterable<Task>) => {
    const all = [...tasks]
    return Effect.zipRight(
      Effect.forEach(all, run, { concurrency: atOnce, discard: true }),
      Effect.suspend(() => {
        done += all.length
        return wake
      })
    )
  }
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(Queue.takeAll(queue), runAll).pipe(
      Effect.zipRight(
        Effect.suspend(() => {
          isClosed = true
          return wake
        })
      )
    )
  )
  const step = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(Queue.takeBetween(queue, 1, atOnce)), runAll)
  )
  yield* Effect.forkScoped(Effect.interruptible(Effect.forever(step)))

  return {
    hand: (task: Task) =>
      Effect.suspend(() => {
        if (isClosed || handed - done >= longest) return Effect.void
        handed++
        return Effect.asVoid(Queue.offer(queue, task))
      }),
    settled: Effect.suspend(() => {
      if (isClosed || handed === done) return Effect.void
      const waiter = { until: handed, done: Deferred.unsafeMake<void>(FiberId.none) }
      waiters.add(waiter)
      return Deferred.await(waiter.done)
    })
  }
})
