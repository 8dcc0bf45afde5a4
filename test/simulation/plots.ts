import { imageOf } from "../support/svg.js"
import type { Figures } from "./scale.js"

export interface Series {
  readonly name: string
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

interface Plot {
  readonly title: string
  readonly x: string
  readonly y: string
  readonly series: ReadonlyArray<Series>
}

const [width, height, left, right, top, bottom] = [640, 340, 64, 150, 40, 48]

/** The next round number: 1, 2 or 5 times a power of ten. */
const roundUp = (value: number): number => {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)))
  return ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10) * power
}

const shown = (value: number): string => (value >= 1_000 ? `${value / 1_000}k` : String(Number(value.toPrecision(3))))

/** Lines over a common axis, as an SVG image. */
export const plotOf = ({ series, title, x, y }: Plot): string => {
  const points = series.flatMap((one) => one.points)
  const mostX = roundUp(Math.max(...points.map(([at]) => at)))
  const mostY = roundUp(Math.max(...points.map(([, value]) => value)))
  const px = (value: number) => Math.round(left + (value / mostX) * (width - left - right))
  const py = (value: number) => Math.round(height - bottom - (value / mostY) * (height - top - bottom))
  const ticks = [0, 0.25, 0.5, 0.75, 1]
  const grid = ticks.flatMap((share) => [
    `<line class="grid" x1="${left}" x2="${width - right}" y1="${py(share * mostY)}" y2="${py(share * mostY)}"/>`,
    `<text x="${left - 8}" y="${py(share * mostY) + 4}" text-anchor="end">${shown(share * mostY)}</text>`,
    `<text x="${px(share * mostX)}" y="${height - bottom + 18}" text-anchor="middle">${shown(share * mostX)}</text>`
  ])
  const lines = series.flatMap(({ name, points }, i) => {
    const path = points.map(([at, value]) => `${px(at)},${py(value)}`).join(" ")
    const legend = top + 20 * i
    return [
      `<polyline class="line s${i}" points="${path}"/>`,
      `<line class="line s${i}" x1="${width - right + 12}" x2="${width - right + 32}" y1="${legend}" y2="${legend}"/>`,
      `<text x="${width - right + 38}" y="${legend + 4}">${name}</text>`
    ]
  })
  return imageOf({ width, height, title }, [
    `<text x="${left}" y="20" font-weight="bold">${title}</text>`,
    ...grid,
    `<line class="axis" x1="${left}" x2="${width - right}" y1="${py(0)}" y2="${py(0)}"/>`,
    ...lines,
    `<text x="${(left + width - right) / 2}" y="${height - 10}" text-anchor="middle">${x}</text>`,
    `<text x="14" y="${(top + height - bottom) / 2}" text-anchor="middle" transform="rotate(-90 14 ${(top + height - bottom) / 2})">${y}</text>`
  ])
}

const seriesOf = (
  figures: ReadonlyArray<Figures>,
  nameOf: (one: Figures) => string,
  x: (one: Figures) => number,
  y: (one: Figures) => number
): ReadonlyArray<Series> => {
  const names = [...new Set(figures.map(nameOf))]
  return names.map((name) => ({
    name,
    points: figures.filter((one) => nameOf(one) === name).map((one) => [x(one), y(one)] as const)
  }))
}

/** The plots of the page on scale, by their file names. */
export const plotsOf = (
  figures: Readonly<Record<string, ReadonlyArray<Figures>>>
): Readonly<Record<string, string>> => {
  const { rates = [], workers = [] } = figures
  const news = ({ hasNews }: Figures) => (hasNews ? "with hints" : "sweeps alone")
  const cores = ({ cores }: Figures) => `${cores} core${cores === 1 ? "" : "s"}`
  const ofWorkers = (one: Figures) => one.workers
  return {
    "claims.svg": plotOf({
      title: "Claims for each run, 100 runs started a second",
      x: "workers",
      y: "claims per run",
      series: seriesOf(workers, news, ofWorkers, (one) => one.claimsPerRun)
    }),
    "busy.svg": plotOf({
      title: "Use of a server of 4 cores, 100 runs started a second",
      x: "workers",
      y: "% of the cores",
      series: seriesOf(workers, news, ofWorkers, (one) => 100 * one.busy)
    }),
    "wake-up.svg": plotOf({
      title: "From due to claimed, 99th percentile",
      x: "workers",
      y: "milliseconds",
      series: seriesOf(workers, news, ofWorkers, (one) => one.wakeUp.p99)
    }),
    "throughput.svg": plotOf({
      title: "Use of the server by 20 workers",
      x: "runs started a second",
      y: "% of the cores",
      series: seriesOf(
        rates,
        cores,
        (one) => one.rate,
        (one) => 100 * one.busy
      )
    })
  }
}
