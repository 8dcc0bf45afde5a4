import { h, svg } from "./dom.js"
import { millis, readableKey, time, words } from "./format.js"
import type { Moment, Timeline } from "./model.js"
import { empty } from "./parts.js"

interface Bar {
  readonly from: number
  readonly to: number
  readonly kind: string
  readonly title: string
}

const ends: Readonly<Record<string, string>> = {
  StepCompleted: "good",
  StepFailed: "bad",
  AttemptFailed: "bad",
  AttemptAsked: "bad",
  AttemptDied: "bad",
  UndoCompleted: "undone",
  UndoFailed: "bad",
  WaitEnded: "wait",
  ChildEnded: "wait",
  RecoveryEnded: "wait"
}

const begins: ReadonlySet<string> = new Set(["AttemptStarted", "UndoStarted", "WaitStarted", "ChildStarted", "Decided"])

const millisOf = (iso: string): number => new Date(iso).getTime()

/** One bar per attempt, wait and compensation of a step, and per recovery in the body. A bar that has not ended extends to `end`. */
const barsOf = (moments: ReadonlyArray<Moment>, end: number): ReadonlyArray<Bar> => {
  const bars: Array<Bar> = []
  let open: Moment | undefined
  const close = (begin: Moment, to: number, kind: string, how: string) => {
    const from = millisOf(begin.at)
    const attempt = begin.attempt > 0 ? ` ${begin.attempt}` : ""
    const what = words(begin.kind.replace("Started", "")) + attempt
    bars.push({ from, to, kind, title: `${what}: ${how}, ${millis(to - from)}` })
  }
  for (const moment of moments) {
    // A recovery has one bar, from its first decision to its end.
    if (moment.kind === "Decided" && open?.kind === "Decided") continue
    if (begins.has(moment.kind)) {
      if (open !== undefined) close(open, millisOf(moment.at), "unsure", "outcome unknown")
      open = moment
    } else if (open !== undefined && moment.kind in ends) {
      close(open, millisOf(moment.at), ends[moment.kind] ?? "unsure", words(moment.kind).toLowerCase())
      open = undefined
    }
  }
  if (open !== undefined)
    close(open, end, open.kind === "WaitStarted" || open.kind === "ChildStarted" ? "wait" : "going", "in progress")
  return bars
}

const grouped = (moments: ReadonlyArray<Moment>): ReadonlyArray<readonly [string, ReadonlyArray<Moment>]> => {
  const groups = new Map<string, Array<Moment>>()
  for (const moment of moments) {
    if (moment.step === "") continue
    groups.set(moment.step, [...(groups.get(moment.step) ?? []), moment])
  }
  return [...groups]
}

/** The key of a recovery ends with its number, and that of a child is marked. */
const nameOf = (key: string): string => {
  const [, child, use] = /^(.*)\[child\](?:#(\d+))?$/.exec(key) ?? []
  if (child !== undefined) return `child ${readableKey(child)}${use === undefined ? "" : ` (${use})`}`
  const [, of, count] = /^(.*)!(\d+)$/.exec(key) ?? []
  if (of === undefined || count === undefined) return readableKey(key)
  return `recovery of ${readableKey(of)}${count === "1" ? "" : ` (${count})`}`
}

const width = 600
const minWidth = 3

/** The attempts, waits and compensations of a run, one row per step, and lines at its rewinds. */
export const gantt = ({ createdAt, moments, outcome }: Timeline): Node => {
  const rows = grouped(moments).filter(([, of]) => of.some(({ kind }) => begins.has(kind)))
  if (rows.length === 0) return empty("No step, wait or recovery has started.")
  const start = millisOf(moments[0]?.at ?? createdAt)
  const latest = millisOf(outcome?.at ?? moments.at(-1)?.at ?? createdAt)
  const end = Math.max(start + 1, outcome === undefined ? Math.max(latest, Date.now()) : latest)
  const x = (at: number) => ((at - start) / (end - start)) * (width - minWidth)
  const rewinds = moments.filter(({ kind }) => kind === "Rewound" || kind === "RewindStarted")
  const lines = rewinds.map((moment) =>
    svg(
      "line",
      { class: "rewind", x1: x(millisOf(moment.at)), x2: x(millisOf(moment.at)), y1: 0, y2: 14 },
      svg("title", {}, `${words(moment.kind)} at ${time(moment.at)}`)
    )
  )
  const row = ([step, of]: readonly [string, ReadonlyArray<Moment>]) =>
    h(
      "li",
      {},
      h("span", { class: "name", title: nameOf(step) }, nameOf(step)),
      svg(
        "svg",
        {
          viewBox: `0 0 ${width} 14`,
          preserveAspectRatio: "none",
          role: "img",
          "aria-label": `${nameOf(step)}: ${barsOf(of, end)
            .map(({ title }) => title)
            .join("; ")}`
        },
        ...barsOf(of, end).map(({ from, kind, title, to }) =>
          svg(
            "rect",
            {
              class: kind,
              x: x(from).toFixed(1),
              y: 2,
              height: 10,
              width: Math.max(minWidth, x(to) - x(from)).toFixed(1)
            },
            svg("title", {}, title)
          )
        ),
        ...lines.map((line) => line.cloneNode(true))
      )
    )
  return h(
    "figure",
    { class: "gantt" },
    h("ul", { class: "bars" }, ...rows.map(row)),
    h("figcaption", {}, `${millis(end - start)} from ${time(new Date(start).toISOString())}`)
  )
}
