import * as Effect from "effect/Effect"
import { LockError } from "../../../lock/LockError.js"

/** What is used of fs-native-extensions, which has no types: a lock of the whole file, for this descriptor alone. */
export interface Native {
  /** False: another descriptor has it, in this process or another one. */
  readonly tryLock: (file: number) => boolean
}

// A variable keeps bundlers and type checkers from wanting it where nobody installs it.
const library: string = "fs-native-extensions"

export const load: Effect.Effect<Native, LockError> = Effect.tryPromise({
  try: () => import(library) as Promise<{ readonly default: Native }>,
  catch: (cause) => new LockError({ reason: "Unsupported", lock: "all", cause })
}).pipe(Effect.map((module) => module.default))
