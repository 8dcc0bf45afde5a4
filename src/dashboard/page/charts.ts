import { h, svg } from "./dom.js"
import { millis, percent } from "./format.js"
import type { Statistics } from "./model.js"
import { list } from "./parts.js"

const figure = (caption: string, ...content: ReadonlyArray<Node>) =>
  h("figure", {}, ...content, h("figcaption", {}, caption))

const width = 600

/** Recovered and unrecovered failures per day. */
export const days = (all: Statistics["days"]): Node => {
  const height = 140
  const most = Math.max(1, ...all.map(({ recovered, unrecovered }) => recovered + unrecovered))
  const step = width / all.length
  const bars = all.map(({ day, failures, recovered, unrecovered }, i) => {
    const bar = (from: number, count: number, kind: string) =>
      svg("rect", {
        class: kind,
        x: (i * step + 1).toFixed(1),
        width: (step - 2).toFixed(1),
        y: (height - ((from + count) / most) * height).toFixed(1),
        height: ((count / most) * height).toFixed(1)
      })
    const title = `${day}: ${recovered} recovered, ${unrecovered} unrecovered; ${failures} failures on record`
    return svg(
      "g",
      {},
      svg("title", {}, title),
      svg("rect", { class: "hover", x: (i * step).toFixed(1), width: step.toFixed(1), y: 0, height }),
      bar(0, recovered, "good"),
      bar(recovered, unrecovered, "bad")
    )
  })
  const sum = (of: "recovered" | "unrecovered") => all.reduce((total, day) => total + day[of], 0)
  const label = `${sum("recovered")} recovered and ${sum("unrecovered")} unrecovered in ${all.length} days; at most ${most} a day`
  return figure(
    label,
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "days" }, ...bars),
    h("p", { class: "axis" }, h("span", {}, all[0]?.day ?? ""), h("span", {}, all.at(-1)?.day ?? ""))
  )
}

/** The success rate of each strategy. */
export const strategies = (all: Statistics["byStrategy"]): Node => {
  const entries = Object.entries(all).sort(([, a], [, b]) => b.total - a.total)
  return list(
    "ul",
    "bars",
    entries,
    ([name, { successRate, successful, total }]) => [
      h("span", { class: "name" }, name),
      h("meter", { min: 0, max: 1, value: successRate ?? 0, title: percent(successRate) }, percent(successRate)),
      h(
        "span",
        { class: "number" },
        `${percent(successRate)} of ${total}`,
        h("span", { class: "quiet" }, ` (${successful})`)
      )
    ],
    "No recoveries yet."
  )
}

/** The median and the 95th percentile of each step's duration. */
export const durations = (steps: Statistics["steps"]): Node => {
  const most = Math.max(1, ...steps.map(({ p95 }) => p95))
  return list(
    "ul",
    "bars",
    steps,
    ({ count, p50, p95, step }) => {
      const title = `half within ${millis(p50)}, 95 % within ${millis(p95)}, ${count} times`
      const bar = svg(
        "svg",
        { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": title },
        svg("title", {}, title),
        svg("rect", { class: "soft", x: 0, y: 2, height: 6, width: ((p95 / most) * 100).toFixed(2) }),
        svg("rect", { class: "strong", x: 0, y: 2, height: 6, width: ((p50 / most) * 100).toFixed(2) })
      )
      return [
        h("span", { class: "name" }, step),
        bar,
        h("span", { class: "number" }, `${millis(p50)} – ${millis(p95)}`)
      ]
    },
    "No completed steps yet."
  )
}
