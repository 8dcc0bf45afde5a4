import type { Value } from "../../operate/OperatorRequests.js"
import { duration } from "./duration.js"
import { plain, type Screen } from "./screen.js"
import { cut, pad, paragraph, widthOf } from "./width.js"

type Run = Value<"Run">

/** A part of a row, in epoch milliseconds. `mark` is its last cell. */
interface Span {
  readonly from: number
  readonly to: number
  readonly fill: string
  readonly mark?: string | undefined
}

interface Row {
  readonly name: string
  readonly spans: ReadonlyArray<Span>
  readonly about: string
}

const at = (iso: string): number => Date.parse(iso)

const marks: Readonly<Record<string, string>> = {
  started: ">",
  completed: "█",
  interrupted: "|",
  asked: "?",
  cutShort: "~"
}

/** A failed attempt ends with an `x`. */
const markOf = (status: string): string => marks[status] ?? "x"

const stepRow = (step: Run["steps"][number], end: number): Row => {
  const { history } = step
  const spans = history.flatMap((attempt, i): ReadonlyArray<Span> => {
    const next = history[i + 1]
    const from = at(attempt.startedAt)
    const to = attempt.endedAt === null ? (next === undefined ? end : from) : at(attempt.endedAt)
    const until =
      next === undefined ? (attempt.nextAt === null ? to : Math.min(end, at(attempt.nextAt))) : at(next.startedAt)
    return [
      ...(until > to ? [{ from: to, to: until, fill: "·" }] : []),
      { from, to, fill: "█", mark: markOf(attempt.status) }
    ]
  })
  const attempts = step.attempts > 1 ? `, ${step.attempts} attempts` : ""
  const last = history.at(-1)
  const ended = last === undefined || last.endedAt === null ? end : at(last.endedAt)
  const took = duration(Math.max(0, ended - at(history[0]?.startedAt ?? step.startedAt)))
  return { name: step.key, spans, about: `${step.status}, ${took}${attempts}` }
}

const waitRow = ({ about, endedAt, kind, startedAt, status }: Run["waits"][number], end: number): Row => {
  const [from, to] = [at(startedAt), endedAt === null ? end : at(endedAt)]
  const span = { from, to, fill: "░", mark: status === "open" ? ">" : undefined }
  // How long it is open by now is not known here: the picture ends with the last thing that is on record.
  const took = endedAt === null ? "" : `, ${duration(Math.max(0, to - from))}`
  return { name: `${kind} ${about}`, spans: [span], about: `${status}${took}` }
}

const rollbackRow = ({ startedAt, status, transaction, updatedAt }: Run["rollbacks"][number], end: number): Row => {
  const [from, to] = [at(startedAt), status === "started" ? end : at(updatedAt)]
  const mark = status === "started" ? ">" : status === "failed" ? "x" : undefined
  const name = transaction === "" ? "rollback" : `rollback ${transaction.replace(/\/$/, "")}`
  return { name, spans: [{ from, to, fill: "◄", mark }], about: `${status}, ${duration(Math.max(0, to - from))}` }
}

/** When the picture ends: with the run, or with the last thing that is known of it. */
const endOf = ({ createdAt, finishedAt, rollbacks, steps, waits }: Run): number => {
  if (finishedAt !== null) return at(finishedAt)
  const times = [
    ...steps.flatMap(({ nextAttemptAt, updatedAt }) => [updatedAt, nextAttemptAt]),
    ...waits.flatMap(({ endedAt, startedAt }) => [startedAt, endedAt]),
    ...rollbacks.map(({ updatedAt }) => updatedAt)
  ]
  return Math.max(at(createdAt), ...times.flatMap((time) => (time === null ? [] : [at(time)])))
}

const [unknownWidth, narrow] = [80, 60]

/**
 * The steps, waits and rollbacks of a run over its time, in text: a row for each, in the order in which they began. Needs
 * no colour. Narrow screens have what is said about a row below it.
 */
export const gantt = ({ width = unknownWidth }: Screen, run: Run): string => {
  const end = endOf(run)
  const rows = [
    ...run.steps.map((step) => ({ begin: at(step.history[0]?.startedAt ?? step.startedAt), row: stepRow(step, end) })),
    ...run.waits.map((wait) => ({ begin: at(wait.startedAt), row: waitRow(wait, end) })),
    ...run.rollbacks.map((rollback) => ({ begin: at(rollback.startedAt), row: rollbackRow(rollback, end) }))
  ]
    .sort((a, b) => a.begin - b.begin)
    .map(({ row }) => ({ ...row, name: plain(row.name), about: plain(row.about) }))
  if (rows.length === 0) return ""
  // Of earlier generations there is no journal.
  const created = run.generation === 1 ? [at(run.createdAt)] : []
  const begin = Math.min(...created, ...rows.flatMap(({ spans }) => spans.map(({ from }) => from)))
  const isNarrow = width < narrow
  const abouts = isNarrow ? 0 : Math.max(...rows.map(({ about }) => widthOf(about)))
  const names = Math.min(Math.max(...rows.map(({ name }) => widthOf(name))), Math.max(8, Math.floor(width / 3)))
  const cells = Math.max(8, width - names - 2 - (isNarrow ? 0 : Math.min(abouts, Math.floor(width * 0.4)) + 2))
  const room = Math.max(0, width - names - cells - 4)
  const line = ({ about, name, spans }: Row): string => {
    const bar = barOf(spans, begin, end, cells)
    const drawn = `${pad(cut(name, names), names)}  ${bar}`
    return isNarrow
      ? `${drawn.trimEnd()}\n${" ".repeat(names + 2)}${cut(about, cells)}`
      : `${drawn}  ${cut(about, room)}`.trimEnd()
  }
  return [axis(names, cells, end - begin), ...rows.map(line), legend(rows, width)].join("\n")
}

const axis = (names: number, cells: number, length: number): string => {
  const last = duration(length)
  return `${" ".repeat(names + 2)}0${" ".repeat(Math.max(1, cells - 1 - widthOf(last)))}${last}`
}

/** What only some runs have. */
const rareMarks: ReadonlyArray<readonly [mark: string, meaning: string]> = [
  ["|", "interrupted"],
  ["?", "asked"],
  ["~", "cut short by a crash"]
]

const legend = (rows: ReadonlyArray<Row>, width: number): string => {
  const used = new Set(rows.flatMap(({ spans }) => spans.map(({ mark }) => mark)))
  const rare = rareMarks.filter(([mark]) => used.has(mark)).map(([mark, meaning]) => `${mark} ${meaning}`)
  return paragraph(
    ["█ attempt", "x failed", "· until the next", "░ wait", "◄ rollback", "> open", ...rare],
    "  ",
    width
  )
}

/** Later spans cover earlier ones, and each fills at least one cell. */
const barOf = (spans: ReadonlyArray<Span>, begin: number, end: number, cells: number): string => {
  const bar = Array.from({ length: cells }, () => " ")
  const scale = end > begin ? cells / (end - begin) : 0
  const place = (time: number) => Math.min(cells - 1, Math.max(0, Math.floor((time - begin) * scale)))
  for (const { fill, from, mark, to } of spans) {
    const [first, last] = [place(from), Math.max(place(from), place(to))]
    bar.fill(fill, first, last + 1)
    if (mark !== undefined) bar[last] = mark
  }
  return bar.join("")
}
