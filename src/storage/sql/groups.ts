import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { StorageError } from "../StorageError.js"
import { type ClientAccess, outside } from "./access.js"
import { makeBatches, type Waiting } from "./batches.js"

/** Carries out one request, or several of them in one statement. The answers are in the order of the requests. */
interface Carrier<Q, A> {
  readonly operation: string
  readonly one: (request: Q) => Effect.Effect<A, StorageError>
  readonly several: (requests: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, StorageError>
}

/**
 * The requests of all fibers that wait are one statement, so one commit and one round
 * trip. A statement that is refused is divided, so that one request does not fail
 * the others.
 */
export const makeGroups = <Q, A>(
  access: ClientAccess,
  { one, operation, several }: Carrier<Q, A>
): Effect.Effect<(request: Q) => Effect.Effect<A, StorageError>, never, Scope.Scope> => {
  const guard = outside(access.isInside)
  const batches = makeBatches<Q>((batch) => {
    const alone = Effect.forEach(batch, ({ answer, request }) => Effect.map(Effect.exit(one(request)), answer), {
      discard: true
    })
    if (batch.length === 1) return alone
    return Effect.matchEffect(several(batch.map(({ request }) => request)), {
      onFailure: (error) => (error.reason === "Unavailable" ? answerAll(batch, () => Exit.fail(error)) : alone),
      onSuccess: (answers) => answerAll(batch, (i) => Exit.succeed(answers[i]))
    })
  })
  return Effect.map(
    batches,
    ({ submit }) =>
      (request: Q) =>
        guard(submit<A, never>(operation, request))
  )
}

const answerAll = <Q>(
  batch: ReadonlyArray<Waiting<Q>>,
  exitOf: (index: number) => Exit.Exit<unknown, unknown>
): Effect.Effect<void> =>
  Effect.sync(() => {
    for (const [index, { answer }] of batch.entries()) answer(exitOf(index))
  })
