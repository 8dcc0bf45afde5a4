import { control, type Screen } from "./screen.js"

/** Characters that a screen must not show, as their bytes: a blank in their place would name another run. */
const inBytes = (hidden: string): string =>
  Array.from(new TextEncoder().encode(hidden), (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("")

/** A word of a shell's command. */
const quoted = (word: string): string => {
  // A "=" at the beginning is expanded by zsh.
  if (/^[\w@%+:,./-][\w@%+=:,./-]*$/.test(word)) return word
  return word.search(control) < 0
    ? `'${word.replaceAll("'", `'\\''`)}'`
    : `$'${word.replace(/[\\']/g, "\\$&").replace(control, inBytes)}'`
}

const isLikeOption = (word: string): boolean => word.startsWith("-")

/** A value like an option is read as a value only in one word with its name. */
const option = ([name, value]: readonly [name: string, value: string]): string =>
  isLikeOption(value) ? `--${name}=${quoted(value)}` : `--${name} ${quoted(value)}`

/** A command that a shell runs as it is. It is shown in one line, which a terminal continues on the next one by itself. */
export class ShellCommand {
  private readonly words: ReadonlyArray<string>

  constructor(
    name: string,
    operands: ReadonlyArray<string>,
    options: ReadonlyArray<readonly [name: string, value: string]> = []
  ) {
    const [given, settings] = [operands.map(quoted), options.map(option)]
    this.words = operands.some(isLikeOption)
      ? ["recovery", name, ...settings, "--", ...given]
      : ["recovery", name, ...given, ...settings]
  }

  toString(): string {
    return this.words.join(" ")
  }
}

/** A command on the storage of the command that prints it. */
export const commandOn = (
  { target = [] }: Screen,
  name: string,
  operands: ReadonlyArray<string>,
  options: ReadonlyArray<readonly [name: string, value: string]> = []
): ShellCommand => new ShellCommand(name, operands, [...options, ...target])
