import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Operator, Reply, Request } from "../operate/Operator.js"
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
  )
}

export interface Common extends Given {
  readonly json: boolean
}

/** Interrupted, it waits until what was begun is in its final state: nothing may be closed before. */
const answerOf = (operator: Operator, request: Request): Effect.Effect<Reply> =>
  Effect.async((resume) => {
    const controller = new AbortController()
    const reply = operator.ask(request, { signal: controller.signal })
    reply.then(
      (value) => resume(Effect.succeed(value)),
      (error) => resume(Effect.die(error))
    )
    return Effect.promise(() => {
      controller.abort()
      return reply.catch(() => undefined)
    })
  })

/** Asks, prints the answer, and tells people where it comes from. */
export const ask = (
  given: Common,
  request: Request,
  view: (screen: Screen, value: unknown) => string,
  failed: (value: unknown) => string | undefined = () => undefined
) =>
  Effect.gen(function* () {
    const { operator, where } = yield* open(given)
    const reply = yield* answerOf(operator, request)
    if (!reply.ok) return yield* endedBy(reply)
    yield* Console.log(given.json ? JSON.stringify(reply.value, null, 2) : view(screenOf(process.stdout), reply.value))
    if (!given.json && process.stdout.isTTY) yield* Console.error(`(${where})`)
    const why = failed(reply.value)
    if (why !== undefined) return yield* new Ended({ code: exitCodes.Failed, tag: "Failed", message: why })
  }).pipe(Effect.scoped)

/** A recovery that has not recovered is a failure of the command, too. */
export const unlessCompleted = (value: unknown): string | undefined =>
  at(value, "status") === "completed" ? undefined : `The recovery is ${at(value, "status")}: ${at(value, "error")}`
