import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import {
  type CancelRequest,
  decodeCancelRequest,
  encodeCancelled,
  encodeCancelRequest
} from "../../../journal/Cancellation.js"
import { findRun } from "../../../journal/Journal.js"
import { type JournalError, RunEnded, RunNotFound } from "../../../journal/RunError.js"
import * as Events from "../../../resilience/Events.js"
import { countRunControl } from "../../../resilience/internal/kernel/metrics.js"
import * as Storage from "../../../storage/Storage.js"

/** A recovery ends its own hold. Any other one waits for a person, who now wants the run to end. */
const isOfRecovery = ({ id }: Storage.Hold): boolean => id.startsWith("recovery/")

type Refused = RunNotFound | RunEnded | JournalError | Storage.StorageError

/** Stores the request, and says so if the run had none before. */
export const requestCancel = (
  storage: Storage.Service,
  id: string,
  request: CancelRequest
): Effect.Effect<Storage.Cancelling, Storage.StorageError> =>
  Effect.tap(storage.cancel(id, encodeCancelRequest(request)), (cancelling) => {
    if (cancelling !== "Requested") return Effect.void
    countRunControl("cancel_requested")
    const { by, reason } = request
    return Events.emit({ _tag: "RunCancelRequested", source: { run: id }, reason, by: Option.fromNullable(by) })
  })

/** Stores the request. A run that has not begun ends at once. */
export const cancelRun = (
  id: string,
  request: CancelRequest
): Effect.Effect<"cancelled" | "cancelling", Refused, Storage.Storage> =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const cancelling = yield* requestCancel(storage, id, request)
    if (cancelling === "Unknown") return yield* new RunNotFound({ run: id })
    const run = yield* findRun(storage, id)
    // The first request counts. Repeating it loses no child to a process that ended in between.
    if (run.cancel !== undefined) yield* cancelChildren(storage, id, yield* decodeCancelRequest(id, run.cancel))
    if (run.outcome !== undefined) {
      const { status } = run.outcome
      return cancelling !== "Finished" && status === "cancelled" ? status : yield* new RunEnded({ run: id, status })
    }
    // Also after an earlier request, whose process may have ended between the two.
    if (run.hold !== undefined && !isOfRecovery(run.hold)) yield* storage.releaseHold(id, run.hold.id)
    return (yield* endUnbegun(storage, run)) ? "cancelled" : "cancelling"
  })

const pageSize = 100

/** Requests that the open children of a run are cancelled, unless they are to be left. */
export const cancelChildren = (
  storage: Storage.Service,
  parent: string,
  request: CancelRequest
): Effect.Effect<void, JournalError | Storage.StorageError> =>
  Effect.gen(function* () {
    let before: number | undefined
    while (request.children !== "leave") {
      const page = yield* storage.list({ parent, before, limit: pageSize })
      for (const { id, outcome } of page) if (outcome === undefined) yield* cancelOpen(storage, id, request)
      before = page.at(-1)?.key
      if (page.length < pageSize) return
    }
  })

/** As `cancelRun`, for a run that may have ended meanwhile. Returns whether it has. */
export const cancelOpen = (
  storage: Storage.Service,
  id: string,
  request: CancelRequest
): Effect.Effect<boolean, JournalError | Storage.StorageError> =>
  Effect.provideService(cancelRun(id, request), Storage.Storage, storage).pipe(
    Effect.map((answer) => answer === "cancelled"),
    Effect.catchTags({ RunNotFound: () => Effect.succeed(true), RunEnded: () => Effect.succeed(true) })
  )

/** Ends a run that no process has and that has no line in its journal. Its body need not be known. */
const endUnbegun = (
  storage: Storage.Service,
  run: Storage.Run
): Effect.Effect<boolean, JournalError | Storage.StorageError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      if (run.owner !== undefined || (yield* restore(storage.journal(run.key))).length > 0) return false
      const { id, input, key, labels, version, workflow } = run
      const opened = yield* storage.open({ id, key, input, labels, version, workflow }, restore)
      if (opened._tag !== "Claimed") return false
      const { cancel } = opened.run
      const isUnbegun = Effect.map(storage.journal(key), ({ length }) => length === 0 && cancel !== undefined)
      if (cancel === undefined || !(yield* Effect.onError(isUnbegun, () => storage.release(opened.lease)))) {
        yield* storage.release(opened.lease)
        return false
      }
      // The first request counts, which may be an earlier one.
      const finished = Effect.flatMap(decodeCancelRequest(id, cancel), ({ by, reason }) =>
        storage.finish(opened.lease, { status: "cancelled", exit: encodeCancelled({ reason, by }) })
      )
      const recorded = yield* Effect.onError(finished, () => storage.release(opened.lease)).pipe(
        Effect.catchTag("LeaseLost", () => Effect.succeed(undefined))
      )
      if (recorded !== undefined) yield* emitCancelled(run)
      return recorded?.status === "cancelled"
    })
  )

/** Ends the run at once, whichever process has it. */
export const terminateRun = (id: string, request: CancelRequest): Effect.Effect<void, Refused, Storage.Storage> =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const run = yield* findRun(storage, id)
    const { by, reason } = request
    const exit = encodeCancelled({ reason, by, isTerminated: true })
    const recorded = yield* storage.terminate(id, { status: "cancelled", exit })
    if (Option.isNone(recorded)) return yield* new RunNotFound({ run: id })
    const { status } = recorded.value
    // Also of a run that was terminated before, by a process that may have ended in between.
    if (status === "cancelled") yield* cancelChildren(storage, id, request)
    if (run.outcome !== undefined || recorded.value.exit !== exit) return yield* new RunEnded({ run: id, status })
    yield* emitCancelled(run)
  })

const emitCancelled = ({ id, workflow }: Storage.Run): Effect.Effect<void> =>
  Effect.withFiberRuntime(({ currentContext }) => {
    const watch = Events.watchIn(currentContext)
    return watch.isOn()
      ? watch.emit({ _tag: "RunFinished", source: { run: id }, workflow, outcome: "cancelled", cause: Option.none() })
      : Effect.void
  })
