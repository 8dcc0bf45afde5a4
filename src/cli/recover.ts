import { spawn } from "node:child_process"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Request, Value } from "../operate/OperatorRequests.js"
import { ask, type Common, openFor, print, valueOf } from "./ask.js"
import { Ended, ended } from "./exit.js"
import { usage } from "./options.js"
import * as views from "./render/views.js"

type Recovery = Value<"Recovery">

/** What the process of a detached recovery sends once to the command that started it. */
type Message =
  | { readonly begun: Recovery; readonly where: string }
  | { readonly ended: Pick<Ended, "code" | "tag" | "message"> }

/** Set for the process of a detached recovery. */
const variable = "EFFECT_RECOVERY_DETACHED"

/** A recovery that did not complete is a failure of the command. */
export const unlessCompleted = ({ error, status }: Pick<Recovery, "error" | "status">): string | undefined =>
  status === "completed" ? undefined : `The recovery is ${status}${error === undefined ? "." : `: ${error}`}`

/**
 * Begins a recovery, prints its id, waits for its end and prints its record. A detached recovery runs in a process of
 * its own, since the operator of this one is closed when the command ends.
 */
export const recover = (
  { detach, dryRun, ...given }: Common & { readonly detach: boolean; readonly dryRun: boolean },
  request: Request<"Initiate" | "Rollback">
): Effect.Effect<void, Ended> => {
  if (dryRun && detach) return usage("A recovery takes --dry-run or --detach, not both.")
  if (dryRun) return ask<"Plan" | "PlanRollback">(given, planOf(request), views.plan)
  if (process.env[variable] !== undefined) {
    // The work may start processes: the variable is not for them.
    delete process.env[variable]
    return Effect.tapError(
      toItsEnd(given, request, (begun, where) => send({ begun, where })),
      ({ code, message, tag }) => send({ ended: { code, tag, message } })
    )
  }
  if (detach) return Effect.flatMap(inBackground, ({ begun, where }) => print(given, { where }, begun, views.recovery))
  // With --json the standard output is one document, the record of the recovery that has ended.
  const announce = given.json ? Console.error : Console.log
  return toItsEnd(given, request, ({ id, type }) => announce(`Recovery ${id} has begun: ${type}.`))
}

const planOf = (request: Request<"Initiate" | "Rollback">): Request<"Plan" | "PlanRollback"> => {
  const { reason: _, ...what } = request
  return what._tag === "Initiate" ? { ...what, _tag: "Plan" } : { ...what, _tag: "PlanRollback" }
}

const toItsEnd = (
  given: Common,
  request: Request<"Initiate" | "Rollback">,
  announce: (begun: Recovery, where: string) => Effect.Effect<void>
) =>
  Effect.gen(function* () {
    const opened = yield* openFor(given, request._tag)
    const begun = yield* valueOf(opened, request)
    yield* announce(begun, opened.where)
    const recovery = yield* valueOf(opened, { _tag: "Join", id: begun.id })
    yield* print(given, opened, recovery, views.recovery)
    const message = unlessCompleted(recovery)
    if (message !== undefined) return yield* ended("Failed", message)
  }).pipe(Effect.scoped)

/** Sends the first message, and lets the starter go. */
const send = (message: Message): Effect.Effect<void> =>
  Effect.async((resume) => {
    // Only the first message finds the channel open.
    if (process.send === undefined || !process.connected) return resume(Effect.void)
    process.send(message, undefined, undefined, () => {
      if (process.connected) process.disconnect()
      resume(Effect.void)
    })
  })

/** Starts this command again in a session of its own, and waits until its recovery has begun. */
const inBackground: Effect.Effect<Extract<Message, { readonly begun: Recovery }>, Ended> = Effect.async((resume) => {
  const [node, ...args] = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const child = spawn(node, args, {
    detached: true,
    env: { ...process.env, [variable]: "1" },
    stdio: ["ignore", "ignore", "pipe", "ipc"]
  })
  let printed = ""
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    printed = `${printed}${text}`.slice(-10_000)
  })
  child.once("message", (message: Message) => {
    child.removeAllListeners()
    child.stderr?.destroy()
    child.unref()
    resume("begun" in message ? Effect.succeed(message) : Effect.fail(new Ended(message.ended)))
  })
  const died = (why: string) => resume(ended("Failed", `The process of the recovery ended early: ${why}`))
  child.once("error", ({ message }) => died(message))
  child.once("close", (code, signal) => died(printed.trim() || `it ended with ${signal ?? `exit code ${code}`}.`))
  // Its recovery is then cancelled, or has not begun.
  return Effect.sync(() => child.kill("SIGINT"))
})
