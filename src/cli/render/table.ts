/** What a terminal can show, and how. */
export interface Screen {
  /** Nothing is cut where there is none. */
  readonly width: number | undefined
  readonly colour: boolean
}

export const screenOf = (stream: NodeJS.WriteStream): Screen => ({
  width: stream.isTTY ? stream.columns : Number(process.env.COLUMNS) || undefined,
  colour: stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb"
})

/** A name from elsewhere must not move the cursor. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is meant
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

/** A word that says how something stands. */
const paint = ({ colour }: Screen, cell: string): string => {
  const word = cell.trim()
  const code = Object.hasOwn(colours, word) ? colours[word] : undefined
  return colour && code !== undefined ? `\u001b[${code}m${cell}\u001b[39m` : cell
}

const gap = 2

const narrowest = 8

/** The widest columns give way first, but for the one by which a row is named: half of an id is of no use. */
const widthsFor = (natural: ReadonlyArray<number>, width: number | undefined): ReadonlyArray<number> | undefined => {
  const widths = [...natural]
  const total = () => widths.reduce((sum, one) => sum + one + gap, -gap)
  while (width !== undefined && total() > width) {
    const widest = Math.max(...widths.slice(1))
    if (widest <= narrowest) return undefined
    widths[widths.indexOf(widest, 1)] = widest - 1
  }
  return widths
}

/** Rows under their names; one below the other where they do not fit beside one another. */
export const table = (
  screen: Screen,
  head: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<unknown>>
): string => {
  const cells = rows.map((row) => row.map(plain))
  const natural = head.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i]?.length ?? 0)))
  const widths = widthsFor(natural, screen.width)
  if (widths === undefined) return cells.map((row) => record(screen, head, row)).join("\n\n")
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

/** One thing, a line for each of its parts; what is long goes on below. */
export const record = (screen: Screen, names: ReadonlyArray<string>, values: ReadonlyArray<unknown>): string => {
  const shown = names.map((name, i) => [name, plain(values[i])] as const).filter(([, value]) => value !== "")
  const width = Math.max(0, ...shown.map(([name]) => name.length))
  const room = screen.width === undefined ? undefined : Math.max(narrowest, screen.width - width - gap)
  return shown
    .map(([name, value]) => {
      const [first = "", ...rest] = wrap(value, room).map((line) => paint(screen, line))
      const more = rest.map((line) => `\n${" ".repeat(width + gap)}${line}`).join("")
      return `${bold(screen, name.padEnd(width))}${" ".repeat(gap)}${first}${more}`
    })
    .join("\n")
}

/** Between words where it can. */
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
