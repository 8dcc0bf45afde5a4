import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { Transaction } from "effect-recovery"

/** The ways to make an effect a transaction. What one promises, all promise. */
export interface Form {
  readonly name: "run" | "scoped" | "layer"
  readonly transact: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options?: Transaction.Options<unknown>
  ) => Effect.Effect<A, E | Transaction.RollbackFailed<E>, Exclude<R, Transaction.Transaction>>
}

export const forms: ReadonlyArray<Form> = [
  { name: "run", transact: (self, options) => Transaction.run(self, options) },
  {
    name: "scoped",
    transact: (self, options) =>
      Effect.scopedWith((scope) =>
        Effect.flatMap(Effect.provideService(Transaction.scoped(options), Scope.Scope, scope), (transaction) =>
          Effect.provideService(self, Transaction.Transaction, transaction)
        )
      )
  },
  { name: "layer", transact: (self, options) => Effect.provide(self, Transaction.layer(options)) }
]

export const formOf = (name: string | undefined): Form => {
  const found = forms.find((form) => form.name === name)
  if (found === undefined) throw new Error(`no form of a transaction is called "${name}"`)
  return found
}

/** The incomplete rollback in the result of a transaction of any form. */
export const rollbackFailureOf = <E>(exit: Exit.Exit<unknown, E>): Transaction.RollbackFailed<unknown> =>
  Option.getOrThrowWith(
    Exit.isFailure(exit) ? Transaction.rollbackFailure(exit.cause) : Option.none(),
    () => new Error(`no rollback failed: ${exit}`)
  )
