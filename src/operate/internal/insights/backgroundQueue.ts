import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Queue from "effect/Queue"
import * as Storage from "../../../storage/Storage.js"
import type { Task } from "./eventRecorder.js"

/** Tasks that may wait. While the storage cannot be written, further tasks are dropped. */
const maxWaiting = 10_000

/** Tasks that run concurrently, so that their writes share a commit. */
const batchSize = 100

interface Waiter {
  readonly until: number
  readonly done: Deferred.Deferred<void>
}

/** Runs tasks in the background, in batches. Closing the scope runs the tasks that are still waiting. */
export const makeBackgroundQueue = Effect.fnUntraced(function* (storage: Storage.Service) {
  const queue = yield* Queue.unbounded<Task>()
  let enqueued = 0
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
      Effect.forEach(all, run, { concurrency: batchSize, discard: true }),
      Effect.suspend(() => {
        done += all.length
        return wake
      })
    )
  }
  const close = Effect.suspend(() => {
    isClosed = true
    return wake
  })
  yield* Effect.addFinalizer(() => Effect.zipRight(Effect.flatMap(Queue.takeAll(queue), runAll), close))
  const runBatch = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(Queue.takeBetween(queue, 1, batchSize)), runAll)
  )
  yield* Effect.forkScoped(Effect.interruptible(Effect.forever(runBatch)))

  return {
    enqueue: (task: Task) =>
      Effect.suspend(() => {
        if (isClosed || enqueued - done >= maxWaiting) return Effect.void
        enqueued++
        return Effect.asVoid(Queue.offer(queue, task))
      }),
    /** Waits for the tasks enqueued so far. */
    settled: Effect.suspend(() => {
      if (isClosed || enqueued === done) return Effect.void
      const waiter = { until: enqueued, done: Deferred.unsafeMake<void>(FiberId.none) }
      waiters.add(waiter)
      return Deferred.await(waiter.done)
    })
  }
})
