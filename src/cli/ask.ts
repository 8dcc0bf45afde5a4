import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Request } from "../operate/Operator.js"
import * as asking from "../operate/OperatorClient.js"
import { type Given, open } from "./config.js"
import { Ended, endedBy, exitCodes } from "./exit.js"
import { type Screen, screenOf } from "./render/table.js"
import { at } from "./render/views.js"

/** What every command takes. */
export const common = {
  json: Options.boolean("json").pipe(Options.withDescription("Print JSON, for scripts")),
  config: Options.text("config").pipe(
    Options.withDescription("The configuration; else recovery.config.ts in this folder or above it"),
    Options.optional
  ),
  database: Options.text("database").pipe(
    Options.withDescription("The SQLite file, where there is no configuration; else $RECOVERY_DATABASE"),
    Options.optional
  ),
  readonly: Options.boolean("read-only").pipe(
    Options.withDescription("Change nothing: for a copy of a database, which is opened without a configuration")
  )
}

export interface Common extends Given {
  readonly json: boolean
}

/** The table of requests takes time to load, so only `--read-only` loads it before the storage is opened. */
const refuseWriting = ({ readonly }: Common, { _tag }: Request) =>
  readonly
    ? Effect.flatMap(
        Effect.promise(() => import("../operate/OperatorRequests.js")),
        ({ requests }) => (requests[_tag].writes ? new Ended(readOnly) : Effect.void)
      )
    : Effect.void

const readOnly = { code: exitCodes.Refused, tag: "ReadOnly", message: "With --read-only nothing can be changed." }

/** Asks, prints the answer, and tells people where it comes from. */
export const ask = (
  given: Common,
  request: Request,
  view: (screen: Screen, value: unknown) => string,
  failed: (value: unknown) => string | undefined = () => undefined
) =>
  Effect.gen(function* () {
    yield* refuseWriting(given, request)
    const { operator, where } = yield* open(given)
    const reply = yield* asking.ask(operator, request)
    if (!reply.ok) return yield* endedBy(reply)
    yield* Console.log(given.json ? JSON.stringify(reply.value, null, 2) : view(screenOf(process.stdout), reply.value))
    if (!given.json && process.stdout.isTTY) yield* Console.error(`(${where})`)
    const why = failed(reply.value)
    if (why !== undefined) return yield* new Ended({ code: exitCodes.Failed, tag: "Failed", message: why })
  }).pipe(Effect.scoped)

/** A recovery that has not recovered is a failure of the command, too. */
export const unlessCompleted = (value: unknown): string | undefined =>
  at(value, "status") === "completed" ? undefined : `The recovery is ${at(value, "status")}: ${at(value, "error")}`
