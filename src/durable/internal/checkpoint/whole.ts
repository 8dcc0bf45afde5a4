import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Service } from "../../../storage/Storage.js"
import { textOf } from "./state.js"

/** Whether a checkpoint's bytes are what they were. A storage in trouble knows of none that are. */
export const isWhole = (storage: Service, id: string): Effect.Effect<boolean> =>
  Effect.orElseSucceed(
    Effect.flatMap(storage.snapshot(Number(id)), (found) =>
      Option.isNone(found) ? Effect.succeed(false) : Effect.as(textOf(found.value), true)
    ),
    () => false
  )
