import { bold, plain, type Screen } from "./table.js"
import * as views from "./views.js"
import { at, list } from "./views.js"

export interface Shown {
  readonly where: string
  /** What an operator answered last. */
  readonly value: unknown
  /** Why there is nothing newer. */
  readonly trouble: string | undefined
  readonly at: Date
}

const blocks = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

/** A block for each number, as high as it is large. */
const sparkline = (numbers: ReadonlyArray<number>): string => {
  const most = Math.max(1, ...numbers)
  return numbers.map((n) => (n === 0 ? "·" : blocks[Math.ceil((n / most) * blocks.length) - 1])).join("")
}

interface Section {
  readonly title: string
  readonly rows: ReadonlyArray<unknown>
  readonly view: (screen: Screen, value: unknown) => string
}

const sectionsOf = (value: unknown): ReadonlyArray<Section> => {
  const section = (title: string, rows: unknown, view: Section["view"]): Section => ({ title, rows: list(rows), view })
  return [
    section("Questions", at(value, "questions"), views.questions),
    section("Escalations", at(value, "escalations"), views.escalations),
    section("Open failures", at(value, "failures"), views.failures),
    section("Runs", at(value, "runs"), views.runs),
    section("Recoveries", at(value, "dashboard", "recent_recoveries"), views.recoveries)
  ].filter(({ rows }) => rows.length > 0)
}

const unlimited = 10

/** Title, head and an empty line. */
const around = 3

/** As many rows of each as there is room for; what one section does not need the others have. */
const roomFor = (sections: ReadonlyArray<Section>, lines: number | undefined): ReadonlyArray<number> => {
  if (lines === undefined) return sections.map(({ rows }) => Math.min(unlimited, rows.length))
  const rooms = sections.map(() => 0)
  let left = lines - around * sections.length
  for (let given = true; given && left > 0; ) {
    given = false
    for (const [i, { rows }] of sections.entries()) {
      if (left <= 0 || (rooms[i] ?? 0) >= rows.length) continue
      rooms[i] = (rooms[i] ?? 0) + 1
      left--
      given = true
    }
  }
  return rooms
}

/** What fits on a screen of so many lines: how things stand, and the newest of everything. */
export const live = (screen: Screen, lines: number | undefined, shown: Shown): ReadonlyArray<string> => {
  const { trouble, value } = shown
  const head = headOf(screen, shown)
  if (value === undefined) return [...head, "", plain(trouble ?? "…")]
  const days = list(at(value, "statistics", "days")).map((day) => Number(at(day, "recovered") ?? 0))
  const chart = `${sparkline(days)}  recovered, 30 days`.slice(0, screen.width)
  const top = [...head, "", ...views.standing(screen, value).split("\n"), chart]
  const sections = sectionsOf(value)
  const rooms = roomFor(sections, lines === undefined ? undefined : lines - top.length - 1)
  const body = sections.flatMap(({ rows, title, view }, i) => {
    const room = rooms[i] ?? 0
    const hidden = rows.length - room
    const more = hidden > 0 && lines !== undefined ? ` (${hidden} more)` : ""
    return room === 0 ? [] : ["", bold(screen, title) + more, ...view(screen, rows.slice(0, room)).split("\n")]
  })
  const all = [...top, ...body]
  return lines === undefined ? all : all.slice(0, Math.max(1, lines - 1))
}

const headOf = (screen: Screen, { at, trouble, where }: Shown): ReadonlyArray<string> => {
  const right = `${at.toTimeString().slice(0, 8)}  q quits`
  const width = screen.width ?? 100
  const room = Math.max(0, width - right.length - 2)
  const left = where.length > room ? `…${where.slice(where.length - room + 1)}` : where.padEnd(room)
  const first = screen.width === undefined ? `${where}  ${at.toISOString()}` : `${left}  ${right}`
  return [bold(screen, first), ...(trouble === undefined ? [] : [plain(trouble).slice(0, width)])]
}
