import type * as Console from "effect/Console"
import * as Effect from "effect/Effect"

/** What the output can show. */
export interface Screen {
  /** In columns; undefined if the width is unlimited. */
  readonly width: number | undefined
  readonly colour: boolean
}

export const screenOf = (stream: NodeJS.WriteStream): Screen => ({
  width: stream.isTTY ? stream.columns : Number(process.env.COLUMNS) || undefined,
  colour: stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb"
})

/** Control and bidirectional characters: a name from outside must not move the cursor. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters
const control = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]+/g

export const plain = (value: unknown): string =>
  value === null || value === undefined ? "" : String(value).replace(control, " ")

const cut = (text: string, width: number): string =>
  text.length <= width ? text.padEnd(width) : `${[...text].slice(0, Math.max(0, width - 1)).join("")}…`

export const bold = ({ colour }: Screen, text: string): string => (colour ? `\u001b[1m${text}\u001b[22m` : text)

const colours: Readonly<Record<string, number>> = {
  completed: 32,
  resolved: 32,
  running: 34,
  in_progress: 34,
  suspended: 33,
  stopped: 33,
  pending: 33,
  warning: 33,
  ok: 32,
  failing: 31,
  open: 31,
  failed: 31,
  critical: 31
}

/** Colours a cell that is a status. */
const paint = ({ colour }: Screen, cell: string): string => {
  const word = cell.trim()
  const code = Object.hasOwn(colours, word) ? colours[word] : undefined
  return colour && code !== undefined ? `\u001b[${code}m${cell}\u001b[39m` : cell
}

const gap = 2

const minWidth = 8

/**
 * Shrinks the widest columns until the table fits; undefined if it cannot fit.
 * The first column is never cut: half an id is useless.
 */
const widthsFor = (natural: ReadonlyArray<number>, width: number | undefined): ReadonlyArray<number> | undefined => {
  const widths = [...natural]
  const total = () => widths.reduce((sum, one) => sum + one + gap, -gap)
  while (width !== undefined && total() > width) {
    const widest = Math.max(...widths.slice(1))
    if (widest <= minWidth) return undefined
    widths[widths.indexOf(widest, 1)] = widest - 1
  }
  return widths
}

/** Rows as columns; as one record per row where the columns do not fit. */
export const table = (
  screen: Screen,
  head: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<unknown>>
): string => {
  const cells = rows.map((row) => row.map(plain))
  const natural = head.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i]?.length ?? 0)))
  const widths = widthsFor(natural, screen.width)
  if (widths === undefined)
    return cells
      .map((row) =>
        record(
          screen,
          head.map((name, i) => [name, row[i]])
        )
      )
      .join("\n\n")
  const line = (row: ReadonlyArray<string>, style: (cell: string) => string) =>
    row
      .map((cell, i) => style(cut(cell, widths[i] ?? 0)))
      .join(" ".repeat(gap))
      .trimEnd()
  return [
    line(head, (cell) => bold(screen, cell)),
    ...cells.map((row) => line(row, (cell) => paint(screen, cell)))
  ].join("\n")
}

/** A line for each field with a value; long values wrap. */
export const record = (screen: Screen, fields: ReadonlyArray<readonly [name: string, value: unknown]>): string => {
  const shown = fields.map(([name, value]) => [name, plain(value)] as const).filter(([, value]) => value !== "")
  const width = Math.max(0, ...shown.map(([name]) => name.length))
  const room = screen.width === undefined ? undefined : Math.max(minWidth, screen.width - width - gap)
  return shown
    .map(([name, value]) => {
      const [first = "", ...rest] = wrap(value, room).map((line) => paint(screen, line))
      const more = rest.map((line) => `\n${" ".repeat(width + gap)}${line}`).join("")
      return `${bold(screen, name.padEnd(width))}${" ".repeat(gap)}${first}${more}`
    })
    .join("\n")
}

/** Breaks lines between words where possible. */
const wrap = (text: string, room: number | undefined): ReadonlyArray<string> => {
  if (room === undefined) return [text]
  const lines: Array<string> = []
  let rest = text
  while (rest.length > room) {
    const space = rest.lastIndexOf(" ", room)
    const end = space > 0 ? space : room
    lines.push(rest.slice(0, end))
    rest = rest.slice(end).trimStart()
  }
  return [...lines, rest]
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters
const styles = /\u001b\[[0-9;]*m/g

/** Removes styles from all output if the screen shows no colours, also those of the command line parser. */
export const plainConsole = (console: Console.Console, { colour }: Screen): Console.Console => {
  const write = (stream: NodeJS.WriteStream) => (text: unknown) =>
    Effect.sync(() => {
      stream.write(`${colour ? String(text) : String(text).replace(styles, "")}\n`)
    })
  return { ...console, log: write(process.stdout), error: write(process.stderr) }
}
