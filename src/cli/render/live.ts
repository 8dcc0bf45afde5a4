import type { Value } from "../../operate/OperatorRequests.js"
import { runs } from "./runs.js"
import { bold, plain, type Screen } from "./screen.js"
import * as views from "./views.js"
import { cut, cutBeginning, pad, widthOf } from "./width.js"

export interface Frame {
  readonly where: string
  /** The latest overview. */
  readonly value: Value<"Overview"> | undefined
  /** Why the overview is not up to date. */
  readonly trouble: string | undefined
  readonly at: Date
}

const blocks = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

/** One block per number, as high as the number is large. */
const sparkline = (numbers: ReadonlyArray<number>): string => {
  const most = Math.max(1, ...numbers)
  return numbers.map((n) => (n === 0 ? "·" : blocks[Math.ceil((n / most) * blocks.length) - 1])).join("")
}

interface Section {
  readonly title: string
  readonly size: number
  /** The lines of its first rows. */
  readonly lines: (rows: number) => ReadonlyArray<string>
}

const sectionsOf = (screen: Screen, value: Value<"Overview">): ReadonlyArray<Section> => {
  const section = <A>(
    title: string,
    items: ReadonlyArray<A>,
    view: (screen: Screen, items: ReadonlyArray<A>) => string
  ): Section => ({ title, size: items.length, lines: (rows) => view(screen, items.slice(0, rows)).split("\n") })
  return [
    section("Questions", value.questions, views.questions),
    section("Escalations", value.escalations, views.escalations),
    section("Open failures", value.failures, views.failures),
    section("Runs", value.runs, runs),
    section("Recoveries", value.dashboard.recent_recoveries, views.recoveries)
  ].filter(({ size }) => size > 0)
}

/** Rows of each section where the height is unlimited. */
const defaultRows = 10

/** Columns between the parts of the first line. */
const gap = 2

/** Title, head and an empty line. */
const linesAround = 3

/** Deals the lines of the screen to the sections, one row each in turn, until all rows or no lines remain. */
const rowsOf = (sections: ReadonlyArray<Section>, lines: number | undefined): ReadonlyArray<number> => {
  if (lines === undefined) return sections.map(({ size }) => Math.min(defaultRows, size))
  const rows = sections.map(() => 0)
  let free = lines - linesAround * sections.length
  for (let hasGrown = true; hasGrown && free > 0; ) {
    hasGrown = false
    for (const [i, { size }] of sections.entries()) {
      const own = rows[i] ?? 0
      if (free <= 0 || own >= size) continue
      rows[i] = own + 1
      free--
      hasGrown = true
    }
  }
  return rows
}

/** The overview in as many lines as fit: the summary, then the newest rows of each section. */
export const live = (screen: Screen, lines: number | undefined, frame: Frame): ReadonlyArray<string> => {
  const { trouble, value } = frame
  const head = headOf(screen, frame)
  if (value === undefined) return trouble === undefined ? [...head, "", "…"] : head
  const days = value.statistics.days.map(({ recovered }) => recovered)
  const fitting = (text: string) => (screen.width === undefined ? text : cut(text, screen.width))
  const chart = fitting(`${sparkline(days)}  recovered, 30 days`)
  const top = [...head, "", ...views.summary(screen, value).split("\n"), chart]
  const sections = sectionsOf(screen, value)
  const rows = rowsOf(sections, lines === undefined ? undefined : lines - top.length - 1)
  const body = sections.flatMap((section, i) => {
    const shown = rows[i] ?? 0
    const hidden = section.size - shown
    const more = hidden > 0 && lines !== undefined ? ` (${hidden} more)` : ""
    return shown === 0 ? [] : ["", bold(screen, section.title) + more, ...section.lines(shown)]
  })
  const all = [...top, ...body]
  return lines === undefined ? all : all.slice(0, Math.max(1, lines - 1))
}

const headOf = (screen: Screen, { at, trouble, where }: Frame): ReadonlyArray<string> => {
  const { width } = screen
  const right = `${at.toTimeString().slice(0, 8)}  q quits`
  const room = Math.max(0, (width ?? 0) - widthOf(right) - gap)
  const first =
    width === undefined
      ? `${plain(where)}  ${at.toISOString()}`
      : cut(`${pad(cutBeginning(plain(where), room), room)}${" ".repeat(gap)}${right}`, width)
  const second = trouble === undefined ? [] : [width === undefined ? plain(trouble) : cut(plain(trouble), width)]
  return [bold(screen, first), ...second]
}
