import { escaped, imageOf } from "../support/svg.js"

/** A figure of a row and its goal, as `bench/harness.mjs` writes it. */
export interface Goal {
  readonly what: string
  readonly today: number
  readonly todayText: string
  /** Such as `at least 5x` or `at most 1 ms`. */
  readonly wanted: string
  readonly isMoreBetter: boolean
  readonly met: boolean
}

interface Row {
  readonly title: string
  /** The day of the run: 2026-11-30. */
  readonly day: string
  /** Load average when the row had ended. */
  readonly load?: number
  readonly machine: { readonly node: string; readonly cpus: number; readonly cpu: string }
  readonly goals: ReadonlyArray<Goal>
}

type Rows = Readonly<Record<string, Row>>

/** `bench/released.json`: each row as it was measured last, on a quiet machine and on a loaded one. */
export interface Released {
  readonly quiet: Rows
  readonly loaded: Rows
}

/** A figure on a quiet machine and, unless it was not measured there, on a loaded one. */
interface Figure {
  readonly quiet: Goal
  readonly loaded: Goal | undefined
}

const [width, textEnd, barEnd, lineHeight] = [920, 430, 700, 22]
/** A bar ends at a tenth and at ten times of its goal. */
const decades = 1

/** How many times as good as its goal a figure is. */
const ratioOf = ({ isMoreBetter, today, wanted }: Goal): number => {
  const limit = Number(/[\d.]+/.exec(wanted)?.[0])
  return isMoreBetter ? today / limit : limit / today
}

const middle = (textEnd + barEnd) / 2

const xOf = (ratio: number): number => {
  const share = Math.min(decades, Math.max(-decades, Math.log10(ratio))) / decades
  return Math.round(middle + (share * (barEnd - textEnd)) / 2)
}

/** The rows in the order of their numbers, each with its figures. */
export const rowsOf = ({
  loaded,
  quiet
}: Released): ReadonlyArray<Row & { readonly figures: ReadonlyArray<Figure> }> => {
  const place = (name: string) => Number(/\d+/.exec(name)?.[0] ?? 0)
  return Object.entries(quiet)
    .sort(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1))
    .map(([name, row]) => ({
      ...row,
      figures: row.goals.map((goal) => ({
        quiet: goal,
        loaded: loaded[name]?.goals.find(({ what }) => what === goal.what)
      }))
    }))
}

const barOf = ({ loaded, quiet }: Figure, y: number): ReadonlyArray<string> => {
  const end = xOf(ratioOf(quiet))
  const from = Math.min(middle, end)
  const tick = loaded === undefined ? undefined : xOf(ratioOf(loaded))
  return [
    `<text x="${textEnd - 12}" y="${y + 4}" text-anchor="end">${escaped(quiet.what)}</text>`,
    `<rect class="${quiet.met ? "reached" : "missed"}" x="${from}" y="${y - 7}" width="${Math.max(2, Math.abs(end - middle))}" height="14"/>`,
    ...(tick === undefined ? [] : [`<line class="line s3" x1="${tick}" x2="${tick}" y1="${y - 9}" y2="${y + 9}"/>`]),
    `<text x="${barEnd + 12}" y="${y + 4}">${escaped(quiet.todayText)} <tspan class="note">${escaped(quiet.wanted)}</tspan></text>`
  ]
}

const countsOf = (figures: ReadonlyArray<Figure>): string => {
  const reached = figures.filter(({ quiet }) => quiet.met).length
  return `${reached} reached, ${figures.length - reached} missed`
}

/** Each figure with its goal: bars to the right of the line have reached it. */
export const goalsPlot = (released: Released): string => {
  const rows = rowsOf(released)
  const title = `Figures and goals: ${countsOf(rows.flatMap(({ figures }) => figures))}`
  const elements: Array<string> = []
  let y = 64
  for (const { day, figures, title } of rows) {
    y += 12
    elements.push(
      `<text x="12" y="${y + 4}" font-weight="bold">${escaped(title)} <tspan class="note">${day}</tspan></text>`
    )
    y += lineHeight
    for (const figure of figures) {
      elements.push(...barOf(figure, y))
      y += lineHeight
    }
  }
  const machine = rows.at(-1)?.machine
  const about =
    machine === undefined ? "" : `${machine.cpus} cores of ${machine.cpu.trim()}, Node ${machine.node.slice(1)}`
  return imageOf({ width, height: y + 54, title }, [
    `<text x="12" y="22" font-weight="bold">${title}</text>`,
    `<text class="note" x="12" y="42">${escaped(about)}</text>`,
    ...[0.1, 1, 10].flatMap((ratio) => [
      `<line class="${ratio === 1 ? "axis" : "grid"}" x1="${xOf(ratio)}" x2="${xOf(ratio)}" y1="58" y2="${y}"/>`,
      `<text class="note" x="${xOf(ratio)}" y="52" text-anchor="middle">${ratio === 1 ? "goal" : ratio === 10 ? "10x better" : "10x worse"}</text>`
    ]),
    ...elements,
    `<text class="note" x="12" y="${y + 20}">Bars: a quiet machine, on a logarithmic scale that ends at ten times. Ticks: the same on a loaded machine.</text>`,
    `<text class="note" x="12" y="${y + 38}">The text on the right is the figure on the quiet machine, then its goal.</text>`
  ])
}

const cell = (goal: Goal | undefined): string =>
  goal === undefined ? "–" : goal.met ? goal.todayText : `**${goal.todayText}**`

/** Of a row in the middle: at its start a run has no load yet. */
const loadOf = (rows: Rows): number | undefined => {
  const loads = Object.values(rows).flatMap(({ load }) => load ?? [])
  return loads.sort((a, b) => a - b)[loads.length >> 1]
}

/** The table of all figures, in Markdown. */
export const goalsTable = (released: Released): string => {
  const rows = rowsOf(released)
  const figures = rows.flatMap(({ figures }) => figures)
  const missedLoaded = figures.filter(({ loaded }) => loaded?.met === false).length
  return [
    `Quiet machine: ${countsOf(figures)}. Loaded machine, load average ${loadOf(released.loaded)}: ${missedLoaded} missed. Bold: missed.`,
    "",
    "| Figure | Goal | Quiet | Loaded |",
    "| --- | --- | ---: | ---: |",
    ...rows.flatMap(({ figures, title }) => [
      `| **${title.replace(/\s+/g, " ")}** | | | |`,
      ...figures.map(({ loaded, quiet }) => `| ${quiet.what} | ${quiet.wanted} | ${cell(quiet)} | ${cell(loaded)} |`)
    ])
  ].join("\n")
}

const [start, end] = ["<!-- figures: written by `npm run bench:report` -->", "<!-- end of the figures -->"]

/** The page with the table of these figures in the place of the one that it has. */
export const withTable = (page: string, released: Released): string => {
  const [before, rest = ""] = page.split(start)
  const after = rest.split(end)[1]
  if (after === undefined) throw new Error(`The page has no lines "${start}" and "${end}"`)
  return `${before}${start}\n\n${goalsTable(released)}\n\n${end}${after}`
}
