import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { common } from "../ask.js"
import { about } from "../render/overview.js"

export const doctorCommand = Command.make("doctor", common, (given) =>
  // The drivers and the storage are loaded only here, so that --help starts fast.
  Effect.flatMap(
    Effect.promise(() => import("./doctor.js")),
    ({ doctor }) => doctor(given)
  )
).pipe(Command.withDescription(about.doctor))
