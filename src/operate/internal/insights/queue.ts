import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Storage from "../../../storage/Storage.js"
import type { Task } from "./observer.js"

/** Whoever makes more than this while the storage cannot be written loses the oldest. */
const longest = 10_000

/** Together they share a commit. */
const atOnce = 100

/** Runs what it is handed in the background, in order of arrival, and what is left when its scope closes. */
export const makeQueue = Effect.fnUntraced(function* (storage: Storage.Service) {
  const queue = yield* Queue.sliding<Task | Deferred.Deferred<void>>(longest)
  const run = (task: Task) =>
    task.pipe(
      Effect.provideService(Storage.Storage, storage),
      Effect.catchAllCause((cause) => Effect.logWarning("effect-recovery: a record could not be written", cause))
    )
  const runAll = (items: Iterable<Task | Deferred.Deferred<void>>) => {
    const all = [...items]
    const waiting = all.filter(isDeferred)
    const tasks = all.filter((item): item is Task => !isDeferred(item))
    return Effect.zipRight(
      Effect.forEach(tasks, run, { concurrency: atOnce, discard: true }),
      Effect.forEach(waiting, (one) => Deferred.succeed(one, undefined), { discard: true })
    )
  }
  yield* Effect.addFinalizer(() => Effect.flatMap(Queue.takeAll(queue), runAll))
  const step = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(Queue.takeBetween(queue, 1, atOnce)), runAll)
  )
  yield* Effect.forkScoped(Effect.interruptible(Effect.forever(step)))
  return {
    hand: (task: Task) => Effect.asVoid(Queue.offer(queue, task)),
    settled: Effect.flatMap(Deferred.make<void>(), (done) =>
      Effect.zipRight(Queue.offer(queue, done), Deferred.await(done))
    )
  }
})

const isDeferred = (item: Task | Deferred.Deferred<void>): item is Deferred.Deferred<void> =>
  Deferred.DeferredTypeId in item
