import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type CancelRequest, decodeCancelRequest } from "../../../journal/Cancellation.js"
import type { WaitRecord } from "../../../journal/Journal.js"
import { whileWorking } from "../execution/activity.js"
import * as Execution from "../execution/execution.js"
import { cancelOpen } from "../run/cancel.js"
import { recordInterruption } from "../wait/wait.js"
import { executionOf } from "./obtain.js"
import type { Child } from "./use.js"

/**
 * The fiber that waits for a child was interrupted. If the program did it, or the parent is being cancelled, nothing
 * waits for the child any more: it is cancelled, here, where its requirements are. Otherwise the parent is resumed later.
 */
export const leaveChild = (child: Child, record: WaitRecord | undefined): Effect.Effect<void, never, unknown> =>
  Effect.suspend(() => {
    const { execution, key, use } = child
    const { isCancelling } = execution.lifecycle
    if (isCancelling && use === "execute") return cancelWithParent(child)
    if (isCancelling || record?.interruptedAt !== undefined || !Execution.isByProgram(execution)) return Effect.void
    const reason = `its parent run "${execution.id}" has interrupted it`
    const cancelled = use === "execute" ? cancelHere(child, { reason }) : Effect.void
    return Effect.zipRight(cancelled, recordInterruption(execution, key))
  })

const cancelWithParent = (child: Child): Effect.Effect<void, never, unknown> => {
  const { execution } = child
  // Only a run with a request is being cancelled.
  const request = decodeCancelRequest(execution.id, execution.wanted.cancel ?? "")
  return Effect.flatMap(Execution.orStop(execution, request), (request) =>
    request.children === "leave" ? Effect.void : cancelHere(child, request)
  )
}

/** Stores the request, and carries it out unless another process does. The next execution tries again what fails. */
const cancelHere = (child: Child, request: CancelRequest): Effect.Effect<void, never, unknown> => {
  const { execution, id } = child
  const requested = Execution.orStop(execution, cancelOpen(execution.storage, id, request))
  // A fiber of its own: this one was interrupted.
  const carriedOut = Effect.flatMap(Effect.forkDaemon(Effect.interruptible(executionOf(child))), Fiber.await)
  return whileWorking(
    execution,
    Effect.flatMap(requested, (isEnded) => (isEnded ? Effect.void : Effect.asVoid(carriedOut)))
  )
}
