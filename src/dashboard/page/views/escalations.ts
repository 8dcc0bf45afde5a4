import { h } from "../dom.js"
import type { Escalation, Overview } from "../model.js"
import { button, chip, empty, facts, link, panel, when } from "../parts.js"

const escalation = (one: Escalation, canAct: boolean) => {
  const act = (label: string, path: string) =>
    button({
      label,
      path: `/escalations/${encodeURIComponent(one.id)}/${path}`,
      payload: () => ({}),
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
      Failures: h(
        "span",
        {},
        ...one.failures.flatMap((id) => [h("a", { href: link("failures", id) }, id), document.createTextNode(" ")])
      )
    }),
    ...(canAct
      ? [
          h(
            "div",
            { class: "buttons" },
            one.status === "open" ? act("Acknowledge", "acknowledge") : null,
            act("Resolve", "resolve")
          )
        ]
      : [])
  )
}

export const escalations = ({ escalations }: Overview, canAct: boolean): ReadonlyArray<Node> =>
  escalations.length === 0 ? [empty("No open escalations.")] : escalations.map((one) => escalation(one, canAct))
