import { bold, plain, type Screen } from "./screen.js"
import { ShellCommand } from "./shell.js"
import { cut, pad, widthOf, wrap } from "./width.js"

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
  exhausted: 31,
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
  const natural = head.map((name, i) => Math.max(widthOf(name), ...cells.map((row) => widthOf(row[i] ?? ""))))
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
      .map((cell, i) => style(pad(cut(cell, widths[i] ?? 0), widths[i] ?? 0)))
      .join(" ".repeat(gap))
      .trimEnd()
  return [
    line(head, (cell) => bold(screen, cell)),
    ...cells.map((row) => line(row, (cell) => paint(screen, cell)))
  ].join("\n")
}

/** A line for each field with a value; long values wrap, but for commands, which a break would end. */
export const record = (screen: Screen, fields: ReadonlyArray<readonly [name: string, value: unknown]>): string => {
  const shown = fields.filter(([, value]) => plain(value) !== "")
  const width = Math.max(0, ...shown.map(([name]) => widthOf(name)))
  const room = screen.width === undefined ? undefined : Math.max(minWidth, screen.width - width - gap)
  return shown
    .map(([name, value]) => {
      const lines = value instanceof ShellCommand ? [plain(value)] : wrap(plain(value), room)
      const [first = "", ...rest] = lines.map((line) => paint(screen, line))
      const more = rest.map((line) => `\n${" ".repeat(width + gap)}${line}`).join("")
      return `${bold(screen, pad(name, width))}${" ".repeat(gap)}${first}${more}`
    })
    .join("\n")
}
