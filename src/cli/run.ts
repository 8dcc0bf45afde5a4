import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { recovery } from "./commands.js"
import { plainConsole } from "./console.js"
import { Rest } from "./exec/command.js"
import { Ended, exitCodes } from "./exit.js"
import { overview } from "./render/overview.js"
import { plain, screenOf } from "./render/table.js"
import { receive } from "./signals.js"

declare const VERSION: string

const run = Command.run(recovery, { name: "recovery", version: VERSION })

/** The parser prints what is wrong with the command line by itself. */
const codeOf = (cause: Cause.Cause<unknown>): number => {
  const error = Cause.squash(cause)
  if (ValidationError.isValidationError(error)) return exitCodes.Usage
  const ended =
    error instanceof Ended ? error : new Ended({ code: exitCodes.Defect, tag: "Defect", message: Cause.pretty(cause) })
  process.stderr.write(
    own.includes("--json")
      ? `${JSON.stringify({ error: { tag: ended.tag, message: ended.message } })}\n`
      : `recovery: ${ended.message.split("\n").map(plain).join("\n")}\n`
  )
  return ended.code
}

const asked = process.argv.slice(2)

/** The parser's own overview needs 300 columns. */
const isOverview = asked.length === 0 || (asked.length === 1 && /^(?:-h|--help|help)$/.test(asked[0] ?? ""))

const screen = screenOf(process.stdout)

/** What stands behind `--` is somebody else's. */
const end = process.argv.indexOf("--")
const [own, rest] = end < 0 ? [process.argv, []] : [process.argv.slice(0, end), process.argv.slice(end + 1)]

const answered = Effect.suspend(() => (isOverview ? Console.log(overview(screen)) : run(own))).pipe(
  Effect.provideService(Rest, rest)
)

const program = Console.consoleWith((console) => Effect.withConsole(answered, plainConsole(console, screen))).pipe(
  Effect.provide(Layer.merge(NodeContext.layer, CliConfig.layer({ showBuiltIns: false })))
)

/** By the number of the signal, as shells have it. */
let signalled: number | undefined

const fiber = Effect.runFork(program)
for (const [signal, number] of [
  ["SIGINT", 2],
  ["SIGTERM", 15]
] as const) {
  process.once(signal, () => {
    signalled = 128 + number
    receive(signal)
    Effect.runFork(Fiber.interrupt(fiber))
  })
}

fiber.addObserver((exit) => {
  process.exitCode = signalled ?? (Exit.isSuccess(exit) ? 0 : codeOf(exit.cause))
})
