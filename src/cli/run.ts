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
import { prettyCause } from "../resilience/Foreign.js"
import { recovery } from "./commands.js"
import { CommandArguments } from "./exec/command.js"
import { Ended, ended, exits, receiveSignal } from "./exit.js"
import { overview } from "./render/overview.js"
import { plain, plainConsole, screenOf } from "./render/terminal.js"

declare const VERSION: string

const run = Command.run(recovery, { name: "recovery", version: VERSION })

/** Prints the error, unless the parser has printed it, and returns the exit code. */
const report = (cause: Cause.Cause<unknown>): number => {
  const error = Cause.squash(cause)
  if (ValidationError.isValidationError(error)) return exits.Usage[0]
  const { code, message, tag } = error instanceof Ended ? error : ended("Defect", prettyCause(cause))
  process.stderr.write(
    own.includes("--json")
      ? `${JSON.stringify({ error: { tag, message } })}\n`
      : `recovery: ${message.split("\n").map(plain).join("\n")}\n`
  )
  return code
}

const given = process.argv.slice(2)

/** The overview replaces the parser's own, which is 300 columns wide. */
const isOverview = given.length === 0 || (given.length === 1 && /^(?:-h|--help|help)$/.test(given[0] ?? ""))

const screen = screenOf(process.stdout)

/** The parser must not read the arguments after `--`: they belong to the command of `exec`. */
const end = process.argv.indexOf("--")
const [own, rest] = end < 0 ? [process.argv, []] : [process.argv.slice(0, end), process.argv.slice(end + 1)]

const main = Effect.suspend(() => (isOverview ? Console.log(overview(screen)) : run(own))).pipe(
  Effect.provideService(CommandArguments, rest)
)

const program = Console.consoleWith((console) => Effect.withConsole(main, plainConsole(console, screen))).pipe(
  Effect.provide(Layer.merge(NodeContext.layer, CliConfig.layer({ showBuiltIns: false })))
)

/** As in shells: 128 and the number of the signal. */
let signalCode: number | undefined

const fiber = Effect.runFork(program)
for (const [signal, number] of [
  ["SIGINT", 2],
  ["SIGTERM", 15]
] as const) {
  process.once(signal, () => {
    signalCode = 128 + number
    receiveSignal(signal)
    Effect.runFork(Fiber.interrupt(fiber))
  })
}

fiber.addObserver((exit) => {
  process.exitCode = signalCode ?? (Exit.isSuccess(exit) ? 0 : report(exit.cause))
})
