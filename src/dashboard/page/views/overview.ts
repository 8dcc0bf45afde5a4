import * as charts from "../charts.js"
import { h } from "../dom.js"
import { millis, words } from "../format.js"
import type { Overview, Recovery } from "../model.js"
import { chip, empty, facts, link, linkTo, list, panel, table, when } from "../parts.js"

const tile = (name: string, value: string | number, kind = "") =>
  h("div", { class: `tile ${kind}` }, h("dt", {}, name), h("dd", {}, value))

const tiles = ({ dashboard, escalations, questions, statistics }: Overview) => {
  const summary = dashboard.recovery_summary
  const { health, openFailures, timeToRecover, trend } = statistics
  return h(
    "dl",
    { class: "tiles" },
    tile("Recovery health", words(health), health),
    tile("Failure trend", words(trend), trend),
    tile("Recoveries", summary.total_recoveries),
    tile("Success rate", summary.total_recoveries === 0 ? "–" : `${summary.success_rate.toFixed(2)} %`),
    tile("In progress", summary.in_progress_recoveries),
    tile("Open failures", openFailures, openFailures > 0 ? "bad" : ""),
    tile("Questions", questions.length, questions.length > 0 ? "attention" : ""),
    tile("Escalations", escalations.length, escalations.length > 0 ? "attention" : ""),
    tile("Time to recover", timeToRecover === null ? "–" : `${millis(timeToRecover.mean)}`)
  )
}

const types = (all: Overview["dashboard"]["recovery_by_type"]) =>
  Object.keys(all).length === 0
    ? empty("No recoveries yet.")
    : facts(
        Object.fromEntries(
          Object.entries(all).map(([type, { successful, total }]) => [type, `${successful} of ${total}`])
        )
      )

const recoveries = (all: ReadonlyArray<Recovery>) =>
  table(
    ["Recovery", "Type", "Status", "Run or failure", "Started", "Message"],
    all.map(({ failure, id, message, run, startedAt, status, type }) => ({
      href: link("recoveries", id),
      name: id,
      cells: [type, chip(status), run ?? failure ?? "", when(startedAt), message]
    })),
    "No recoveries yet."
  )

const checkpoints = (all: Overview["dashboard"]["checkpoint_status"]) =>
  list(
    "ul",
    "plain",
    all,
    ({ at, id, kind, name, run }) => [
      `${name} `,
      h("span", { class: "quiet" }, `#${id}, ${kind}${run === undefined ? "" : `, ${run}`}, `, when(at))
    ],
    "No checkpoints yet."
  )

const frequent = (all: Overview["statistics"]["frequentErrors"]) =>
  list(
    "ul",
    "plain",
    all,
    ({ count, message, name }) => [
      h("b", {}, `${count}×`),
      " ",
      h("span", { title: name }, message ?? `none of the newest failures (${name})`)
    ],
    "No failures yet."
  )

export const overview = (now: Overview): ReadonlyArray<Node> => {
  const { dashboard, statistics } = now
  return [
    tiles(now),
    h(
      "div",
      { class: "grid" },
      panel("Recovered per day", charts.days(statistics.days)),
      panel("By strategy", charts.strategies(statistics.byStrategy)),
      panel("Steps with the longest total time", charts.durations(statistics.steps)),
      panel("By type", types(dashboard.recovery_by_type)),
      panel("Most frequent", frequent(statistics.frequentErrors)),
      panel("Newest checkpoints", checkpoints(dashboard.checkpoint_status))
    ),
    panel("Latest recoveries", recoveries(dashboard.recent_recoveries))
  ]
}

export const recovery = (found: Recovery): ReadonlyArray<Node> => [
  panel(
    `Recovery ${found.id}`,
    facts({
      Status: chip(found.status),
      Type: found.type,
      By: found.by,
      Failure: linkTo("failures", found.failure),
      Run: linkTo("runs", found.run),
      Step: found.step,
      Category: found.category,
      Message: found.message,
      Attempts: found.attempts,
      Target: found.target,
      Reason: found.reason,
      Error: found.error,
      Started: when(found.startedAt),
      Ended: when(found.completedAt)
    })
  ),
  panel(
    "Progress",
    list(
      "ol",
      "plain",
      found.progress,
      ({ detail, endedAt, startedAt, status, step }) => [
        chip(status),
        ` ${words(step)} `,
        h(
          "span",
          { class: "quiet" },
          endedAt === undefined ? "" : millis(new Date(endedAt).getTime() - new Date(startedAt).getTime()),
          detail === undefined ? "" : ` ${detail}`
        )
      ],
      "The program recovered by itself, without a plan."
    )
  )
]
