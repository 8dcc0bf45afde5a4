import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { FailureNotFound, RecoveryNotFound } from "../../OperateError.js"
import { failures, recoveries, toFailure, toRecovery } from "./records.js"

export const findFailure = (id: string) =>
  Effect.flatMap(
    failures.find(id),
    Option.match({
      onNone: () => Effect.fail(new FailureNotFound({ failure: id })),
      onSome: (stored) => Effect.succeed(toFailure(stored))
    })
  )

export const findRecovery = (id: string) =>
  Effect.flatMap(
    recoveries.find(id),
    Option.match({
      onNone: () => Effect.fail(new RecoveryNotFound({ recovery: id })),
      onSome: (stored) => Effect.succeed(toRecovery(stored))
    })
  )
