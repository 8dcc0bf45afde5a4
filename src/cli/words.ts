/** The words before the options of a command: what is wrong with them, and the help of the command that they name. */
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as Descriptor from "@effect/cli/CommandDescriptor"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import { groups, recovery } from "./commands.js"
import { aboutCommand, commandHelp } from "./render/commandHelp.js"
import type { Screen } from "./render/screen.js"

const namesOf = (commands: HashMap.HashMap<string, unknown>): ReadonlyArray<string> =>
  [...HashMap.keys(commands)].sort()

/** How many characters to insert, remove or replace. */
const distance = (from: string, to: string): number => {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1]
    for (const [j, other] of [...to].entries()) {
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)))
    }
    row = next
  }
  return row[to.length] ?? 0
}

/** The name that was probably meant. */
const nearest = (word: string, names: ReadonlyArray<string>): string | undefined => {
  const [best] = names
    .map((name) => ({ name, far: distance(word.toLowerCase(), name) }))
    .sort((one, other) => one.far - other.far)
  return best !== undefined && best.far <= Math.max(1, Math.floor(best.name.length / 3)) ? best.name : undefined
}

const unknown = (before: ReadonlyArray<string>, word: string, names: ReadonlyArray<string>): string => {
  const whole = (name: string) => [...before, name].join(" ")
  const near = nearest(word, names)
  const instead =
    near !== undefined
      ? `Did you mean "${whole(near)}"?`
      : before.length === 0
        ? "recovery --help lists all commands."
        : `The commands of ${before.join(" ")} are ${names.join(", ")}.`
  return `There is no command "${whole(word)}". ${instead}`
}

/** Of the parser itself. */
const ofParser = /^(?:-h|--(?:help|version|wizard|completions|log-level))(?:=|$)/

/** Undefined if nothing is wrong with these words. */
export const wrongWord = ([first, second]: ReadonlyArray<string>): string | undefined => {
  if (first === undefined || ofParser.test(first)) return undefined
  if (first.startsWith("-")) {
    const option = first.replace(/=.*/s, "")
    return `Options stand after the command: recovery COMMAND ${option}. recovery --help lists all commands.`
  }
  const names = namesOf(Command.getSubcommands(recovery))
  if (!names.includes(first)) return unknown([], first, names)
  if (second === undefined || second.startsWith("-")) return undefined
  const below = namesOf(groups.get(first) ?? HashMap.empty())
  return below.length === 0 || below.includes(second) ? undefined : unknown([first], second, below)
}

const config = CliConfig.make({ showBuiltIns: false })

/** The help that is asked for; undefined if none is, or if no command has these words. */
export const helpOf = (screen: Screen, args: ReadonlyArray<string>): string | undefined => {
  if (!args.some((word) => word === "--help" || word === "-h")) return undefined
  const end = args.findIndex((word) => word.startsWith("-"))
  const [first = "", second] = args.slice(0, end)
  const below = groups.get(first) ?? HashMap.empty()
  const found =
    second === undefined || HashMap.isEmpty(below)
      ? HashMap.get(Command.getSubcommands(recovery), first)
      : HashMap.get(below, second)
  if (Option.isNone(found)) return undefined
  const isGroup = second === undefined
  const entries = [...below]
    .map(([name, one]) => [name, aboutCommand(Descriptor.getHelp(one, config))] as const)
    .sort(([one], [other]) => one.localeCompare(other))
  const words = isGroup || HashMap.isEmpty(below) ? [first] : [first, second]
  return commandHelp(screen, words, Descriptor.getHelp(found.value, config), isGroup ? entries : [])
}
