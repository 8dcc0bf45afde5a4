import type { Screen } from "./screen.js"

/** A word of a shell's command. */
export const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

/** A command of `recovery` to copy into the shell, on the storage of the command that prints it. */
export const commandLine = ({ target = [] }: Screen, ...words: ReadonlyArray<string>): string =>
  ["recovery", ...[...words, ...target].map(quoted)].join(" ")
