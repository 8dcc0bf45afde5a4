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

/** What one run of `npm run bench` has written. */
export interface Results {
  readonly machine: { readonly node: string; readonly cpus: number; readonly cpu: string }
  readonly results: Readonly<Record<string, { readonly title: string; readonly goals: ReadonlyArray<Goal> }>>
}

export interface Measured {
  /** The day of the run: 2026-11-29. */
  readonly day: string
  readonly run: Results
}

interface Row {
  readonly name: string
  readonly title: string
  readonly day: string
  readonly goals: ReadonlyArray<Goal>
}

const [width, textEnd, barEnd, lineHeight] = [860, 430, 700, 22]
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

/** The latest figures of each row, in the order of the rows' first results. */
export const latest = (measured: ReadonlyArray<Measured>): ReadonlyArray<Row> => {
  const rows = new Map<string, Row>()
  for (const { day, run } of measured) {
    for (const [name, { goals, title }] of Object.entries(run.results)) {
      // Results from before goals had figures.
      if (goals.length > 0 && goals.every(({ what }) => what !== undefined)) rows.set(name, { name, title, day, goals })
    }
  }
  const place = ({ name }: Row) => Number(/\d+/.exec(name)?.[0] ?? 0)
  return [...rows.values()].sort((a, b) => place(a) - place(b) || (a.name < b.name ? -1 : 1))
}

const barOf = (goal: Goal, y: number): ReadonlyArray<string> => {
  const end = xOf(ratioOf(goal))
  const from = Math.min(middle, end)
  const name = goal.met ? "reached" : "missed"
  return [
    `<text x="${textEnd - 12}" y="${y + 4}" text-anchor="end">${escaped(goal.what)}</text>`,
    `<rect class="${name}" x="${from}" y="${y - 7}" width="${Math.max(2, Math.abs(end - middle))}" height="14"/>`,
    `<text x="${barEnd + 12}" y="${y + 4}">${escaped(goal.todayText)} <tspan class="note">${escaped(goal.wanted)}</tspan></text>`
  ]
}

/** Each figure with its goal: bars to the right of the line have reached it. */
export const goalsPlot = (measured: ReadonlyArray<Measured>): string => {
  const rows = latest(measured)
  const all = rows.flatMap(({ goals }) => goals)
  const missed = all.filter(({ met }) => !met).length
  const elements: Array<string> = []
  let y = 64
  for (const { day, goals, title } of rows) {
    y += 12
    elements.push(
      `<text x="12" y="${y + 4}" font-weight="bold">${escaped(title)} <tspan class="note">${day}</tspan></text>`
    )
    y += lineHeight
    for (const goal of goals) {
      elements.push(...barOf(goal, y))
      y += lineHeight
    }
  }
  const machine = measured.at(-1)?.run.machine
  const about =
    machine === undefined ? "" : `${machine.cpus} cores of ${machine.cpu.trim()}, Node ${machine.node.slice(1)}`
  return imageOf(
    { width, height: y + 36, title: `Figures and goals: ${all.length - missed} reached, ${missed} missed` },
    [
      `<text x="12" y="22" font-weight="bold">Figures and goals: ${all.length - missed} reached, ${missed} missed</text>`,
      `<text class="note" x="12" y="42">${escaped(about)}</text>`,
      ...[0.1, 1, 10].flatMap((ratio) => [
        `<line class="${ratio === 1 ? "axis" : "grid"}" x1="${xOf(ratio)}" x2="${xOf(ratio)}" y1="58" y2="${y}"/>`,
        `<text class="note" x="${xOf(ratio)}" y="52" text-anchor="middle">${ratio === 1 ? "goal" : ratio === 10 ? "10x better" : "10x worse"}</text>`
      ]),
      ...elements,
      `<text class="note" x="12" y="${y + 20}">Bars are on a logarithmic scale and end at ten times. The text on the right is the figure, then its goal.</text>`
    ]
  )
}
