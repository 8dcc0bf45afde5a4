import type * as Effect from "effect/Effect"
import type * as Types from "effect/Types"
import type { Plan, RecoverOptions } from "../kernel/recovery.js"

/** Which operation a call belongs to. */
export interface Operation {
  /** Names the operation for good: what identifies the job, such as the number of an order. */
  readonly id: string
  /** Recorded when it starts, to find it by. */
  readonly labels?: Readonly<Record<string, string>> | undefined
}

/** One call of a recoverable, to be recorded. */
export interface Recorded extends Operation {
  readonly name: string
  readonly plan: Plan
  readonly options: RecoverOptions
  readonly attempt: Effect.Effect<unknown, unknown, unknown>
}

/** Keeps what calls come to: `Operation.persist` makes one. */
export interface Persist<in A, in E, out E2, out R> {
  readonly record: (call: Recorded) => Effect.Effect<unknown, unknown, unknown>
  /** @internal */
  readonly _types?: {
    readonly _A: Types.Contravariant<A>
    readonly _E: Types.Contravariant<E>
    readonly _E2: Types.Covariant<E2>
    readonly _R: Types.Covariant<R>
  }
}
