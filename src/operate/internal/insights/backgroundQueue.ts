import * as Arr from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import { logged } from "../../../resilience/internal/kernel/logged.js"
import * as Storage from "../../../storage/Storage.js"
import type { Task } from "./eventRecorder.js"

/** Tasks that may wait. While the storage cannot be written, further tasks are dropped. */
const maxWaiting = 10_000

/** Tasks that run concurrently, so that their writes share a commit. */
const batchSize = 100

/** A task, or a marker that is completed once all tasks before it have run. */
type Item = { readonly task: Task } | { readonly marker: Deferred.Deferred<void> }

/** Runs tasks in the background, in batches. Closing the scope runs the tasks that are still waiting. */
export const makeBackgroundQueue = Effect.fnUntraced(function* (storage: Storage.Service) {
  const queue = yield* Queue.unbounded<Item>()
  let isClosed = false

  const run = (task: Task) =>
    logged(Effect.provideService(task, Storage.Storage, storage), "a record could not be written")
  // Batches run one after the other, so the tasks of earlier batches have ended.
  const runBatch = (batch: Iterable<Item>) => {
    const [tasks, markers] = Arr.partitionMap(batch, (item) =>
      "task" in item ? Either.left(item.task) : Either.right(item.marker)
    )
    return Effect.zipRight(
      Effect.forEach(tasks, run, { concurrency: batchSize, discard: true }),
      Effect.forEach(markers, (marker) => Deferred.succeed(marker, undefined), { discard: true })
    )
  }
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosed = true
      return Effect.flatMap(Queue.takeAll(queue), runBatch)
    })
  )
  const takeAndRun = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(Queue.takeBetween(queue, 1, batchSize)), runBatch)
  )
  yield* Effect.forkScoped(Effect.interruptible(Effect.forever(takeAndRun)))

  return {
    enqueue: (task: Task) =>
      Effect.sync(() => {
        if (!isClosed && Option.exists(queue.unsafeSize(), (size) => size < maxWaiting)) queue.unsafeOffer({ task })
      }),
    /** Waits for the tasks enqueued so far. */
    settled: Effect.suspend(() => {
      if (isClosed) return Effect.void
      const marker = Deferred.unsafeMake<void>(FiberId.none)
      queue.unsafeOffer({ marker })
      return Deferred.await(marker)
    })
  }
})
