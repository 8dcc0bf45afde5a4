import { encodeId } from "../../PathId.js"
import { h } from "../dom.js"
import type { Escalation, Overview } from "../model.js"
import { button, chip, empty, facts, linkTo, panel, when } from "../parts.js"

const escalation = (one: Escalation, canAct: boolean) => {
  const act = (label: string, path: string) =>
    button({
      label,
      path: `/escalations/${encodeId(one.id)}/${path}`,
      done: () => `${one.id} is ${path}d.`
    })
  return panel(
    one.message,
    facts({
      Status: chip(one.status),
      Level: chip(one.level),
      Rule: one.rule,
      Group: one.group,
      Raised: when(one.raisedAt),
      By: one.acknowledgedBy,
      Failures: h("span", {}, ...one.failures.flatMap((id) => [linkTo("failures", id), " "]))
    }),
    canAct &&
      h(
        "div",
        { class: "buttons" },
        one.status === "open" && act("Acknowledge", "acknowledge"),
        act("Resolve", "resolve")
      )
  )
}

export const escalations = ({ escalations }: Overview, canAct: boolean): ReadonlyArray<Node> =>
  escalations.length === 0 ? [empty("No open escalations.")] : escalations.map((one) => escalation(one, canAct))
