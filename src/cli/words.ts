/** What is wrong with the words before the options of a command, which the parser would answer with a list of all commands. */
import * as Command from "@effect/cli/Command"
import * as HashMap from "effect/HashMap"
import { groups, recovery } from "./commands.js"

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
