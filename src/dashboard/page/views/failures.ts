import { encodeId } from "../../PathId.js"
import { read } from "../api.js"
import { h } from "../dom.js"
import { percent } from "../format.js"
import type { Failure, Overview, Pattern, Recovery, Suggestion, Value } from "../model.js"
import { button, chip, facts, link, linkTo, list, panel, table, when } from "../parts.js"

export const failures = ({ failures }: Overview, current: string | undefined): Node =>
  panel(
    "Open failures, newest first",
    table(
      ["Failure", "Severity", "Category", "Run", "Detected", "Message"],
      failures.map(({ category, detectedAt, id, message, run, severity }) => ({
        href: link("failures", id),
        name: id,
        isCurrent: id === current,
        cells: [chip(severity), category, run ?? "", when(detectedAt), message]
      })),
      "No open failures."
    )
  )

/** Groups of failures with similar messages, and advice. */
export const patterns = (all: ReadonlyArray<Pattern>): Node =>
  panel(
    "Patterns",
    list(
      "ol",
      "suggestions",
      all,
      ({ category, count, example, resolutions, words }) => [
        h("b", {}, `${count} of ${category}`),
        h("span", { class: "quiet" }, ` ${words.join(", ")}`),
        h("p", {}, example),
        h("ul", { class: "plain" }, ...resolutions.map((text) => h("li", {}, text)))
      ],
      "No two open failures have similar messages."
    )
  )

export interface OpenFailure {
  readonly failure: Failure
  readonly suggestions: ReadonlyArray<Suggestion>
  readonly recoveries: ReadonlyArray<Recovery>
}

/** What can be carried out on request. Other strategies are advice. */
const recoveryTypes = ["retry", "resume", "rollback", "restart"]

/** What a recovery would do, one fact per line. */
const planText = ({ checkpoint, point, type, ...plan }: Value<"Plan">): string =>
  [
    `${type}?`,
    plan.by === "action" ? `The action ${type} of the program does it.` : `It works on run ${plan.run}.`,
    (point !== undefined || checkpoint !== undefined) &&
      `Goes back to ${point ?? `checkpoint "${checkpoint?.name}" (${checkpoint?.id})`}.`,
    plan.validation?.is_valid === false &&
      `The checkpoint is not valid, so it would fail: ${plan.validation.errors.join("; ")}`,
    plan.compensates.length > 0 && `Compensates: ${plan.compensates.join(", ")}.`,
    plan.removes.length > 0 &&
      `${type === "rollback" ? "Removes the results of" : "Runs again"}: ${plan.removes.join(", ")}.`,
    type === "rollback" && plan.by === "run" && "The run stops there.",
    plan.fix !== undefined && `The fix for ${plan.fix} runs.`,
    plan.limit !== undefined && `It is ${plan.limit}.`
  ]
    .filter((line) => line !== false)
    .join("\n")

const suggestion =
  ({ id }: Failure, canAct: boolean) =>
  (one: Suggestion) => [
    h("b", {}, one.strategy),
    h("meter", { min: 0, max: 1, value: one.confidence, title: `confidence ${percent(one.confidence)}` }),
    h(
      "span",
      { class: "quiet" },
      `confidence ${percent(one.confidence)}, success ${percent(one.estimatedSuccess)}, ${one.cases === 0 ? "no cases" : `${one.cases} cases`}`
    ),
    h(
      "p",
      {},
      one.reason,
      ...Object.entries(one.parameters).map(([name, value]) => h("code", {}, ` ${name}=${value}`))
    ),
    canAct && recoveryTypes.includes(one.strategy) && initiate(id, one.strategy)
  ]

const initiate = (failure: string, type: string) =>
  button<"Initiate">({
    label: `Recover: ${type}`,
    path: `/failures/${encodeId(failure)}/recoveries`,
    payload: () => ({ type, reason: "from the dashboard" }),
    done: outcomeOf,
    isDangerous: type === "rollback" || type === "restart",
    ask: async () => planText(await read<"Plan">(`/failures/${encodeId(failure)}/plan?type=${type}`))
  })

/** The reply comes before the work begins. The list of recoveries shows how far it is. */
const outcomeOf = ({ id, type }: Recovery): string => `${type} has begun (${id})`

export const failure = ({ failure, recoveries, suggestions }: OpenFailure, canAct: boolean): ReadonlyArray<Node> => {
  const labels = Object.entries(failure.labels).map(([name, value]) => `${name}=${value}`)
  const isOpen = failure.status === "open"
  return [
    panel(
      `Failure ${failure.id}`,
      facts({
        Status: chip(failure.status),
        Message: failure.message,
        Severity: chip(failure.severity),
        Category: `${failure.category}, confidence ${percent(failure.confidence)}`,
        Run: linkTo("runs", failure.run),
        Workflow: failure.workflow,
        Step: failure.step,
        Labels: labels.join(", "),
        Fingerprint: failure.fingerprint,
        Detected: when(failure.detectedAt),
        Retries: failure.retries,
        "Resolved by": failure.resolvedBy
      }),
      failure.log !== undefined &&
        h("details", { "data-key": "log" }, h("summary", {}, "Log"), h("pre", {}, failure.log)),
      canAct &&
        isOpen &&
        button({
          label: "Close: fixed by hand",
          path: `/failures/${encodeId(failure.id)}/resolve`,
          done: () => `${failure.id} is resolved.`
        })
    ),
    panel(
      "Suggestions",
      list("ol", "suggestions", suggestions, suggestion(failure, canAct && isOpen), "No suggestions.")
    ),
    panel(
      "Recoveries",
      table(
        ["Recovery", "Type", "Status", "Started"],
        recoveries.map(({ id, startedAt, status, type }) => ({
          href: link("recoveries", id),
          name: id,
          cells: [type, chip(status), when(startedAt)]
        })),
        "No recoveries yet."
      )
    )
  ]
}
