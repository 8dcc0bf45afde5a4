import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { prettyCause } from "../resilience/Foreign.js"
import { redactText } from "../resilience/Redaction.js"
import { recovery } from "./commands.js"
import { plainConsole } from "./console.js"
import { CommandArguments } from "./exec/command.js"
import { Ended, ended } from "./exit.js"
import { usage, wrongChoice } from "./options.js"
import { watchOutput } from "./output.js"
import { plain, screenOf, withoutStyles } from "./render/screen.js"
import { endBy, endingSignal, exitCodeOf, listen, supervise } from "./signals.js"
import { helpOf, wrongWord } from "./words.js"

declare const VERSION: string

/** In one line, with the option whose value is no choice. */
const usageOf = (text: string): string => {
  const line = withoutStyles(text).replace(/\s+/g, " ").trim()
  return wrongChoice(line, own) ?? line
}

const endedFor = (cause: Cause.Cause<unknown>): Ended => {
  const error = Cause.squash(cause)
  if (error instanceof Ended) return error
  return ValidationError.isValidationError(error)
    ? ended("Usage", usageOf(HelpDoc.toAnsiText(error.error)))
    : ended("Defect", prettyCause(cause))
}

/** Prints the error and returns the exit code. */
const report = (cause: Cause.Cause<unknown>): number => {
  const { code, message: given, tag } = endedFor(cause)
  // A configuration of the user's may fail with any message.
  const message = redactText(given)
  process.stderr.write(
    isJson
      ? `${JSON.stringify({ error: { tag, message } })}\n`
      : `recovery: ${message.split("\n").map(plain).join("\n")}\n`
  )
  return code
}

/** What follows `--` are no options: of `exec`, the command that it runs. */
const end = process.argv.indexOf("--")
const [own, rest] = end < 0 ? [process.argv, []] : [process.argv.slice(0, end), process.argv.slice(end + 1)]

const isExec = own[2] === "exec"

const isJson = own.includes("--json")

const main = Console.consoleWith((console) => {
  const output = plainConsole(console)
  const run = Command.run(
    Command.transformHandler(recovery, (command) => Effect.withConsole(command, output)),
    { name: "recovery", version: VERSION }
  )
  const wrong = wrongWord(own.slice(2))
  if (wrong !== undefined) return usage(wrong)
  const help = helpOf(screenOf(process.stdout), own.slice(2))
  if (help !== undefined) return console.log(help)
  // The parser prints its errors by itself; they are reported like all others.
  return Effect.withConsole(run(isExec ? own : process.argv), { ...output, error: () => Effect.void })
})

const program = main.pipe(
  Effect.provideService(CommandArguments, { own, rest }),
  Effect.provide(
    Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeTerminal.layer, CliConfig.layer({ showBuiltIns: false }))
  )
)

watchOutput(isExec)

const fiber = Effect.runFork(program)

const takeSignals = isExec ? supervise : listen

takeSignals(() => Effect.runFork(Fiber.interrupt(fiber)))

fiber.addObserver((exit) => {
  const signal = endingSignal()
  if (signal !== undefined && isExec) endBy(signal)
  else if (signal !== undefined) process.exitCode = exitCodeOf(signal)
  else process.exitCode = Exit.isSuccess(exit) ? (process.exitCode ?? 0) : report(exit.cause)
})
