import { encodeId } from "../../PathId.js"
import { h } from "../dom.js"
import type { RunStatus, Tag, Value } from "../model.js"
import { type Action, button, panel } from "../parts.js"

/** What an operator can do to an open run. Each asks first, and names what will happen. */
export const controls = ({ cancelling, finishedAt, hold, id }: RunStatus): ReadonlyArray<Node> => {
  if (finishedAt !== null) return []
  const reason = h("input", { type: "text", name: "reason", "data-key": `reason ${id}`, maxlength: 1_000 })
  const control = <T extends Tag>(
    label: string,
    path: string,
    ask: string,
    done: (reply: Value<T>) => string,
    more: Partial<Action<T>> = {}
  ) =>
    button<T>({
      label,
      path: `/runs/${encodeId(id)}/${path}`,
      payload: () => ({ reason: reason.value.trim() || "from the dashboard" }),
      done,
      ask,
      ...more
    })
  return [
    panel(
      "Control",
      h("label", {}, "Reason for the record", reason),
      h(
        "div",
        { class: "buttons" },
        hold === null
          ? control<"Hold">(
              "Hold run",
              "hold",
              `Hold ${id}? No worker takes it and no further step begins, until it is released. A running attempt may end.`,
              () => `${id} is on hold.`,
              { isDangerous: false }
            )
          : control<"Release">(
              "Release run",
              "release",
              `Release ${id}? A worker continues it if it is due.`,
              ({ released }) => (released ? `${id} is released.` : `${id} is not on hold.`),
              { isDangerous: false, payload: () => ({}) }
            ),
        cancelling === null &&
          control<"Cancel">(
            "Cancel run",
            "cancel",
            `Cancel ${id}? The compensations of its open transactions run, and it ends as cancelled. It cannot continue.`,
            ({ result }) =>
              `${id} is ${result === "cancelled" ? "cancelled" : "to be cancelled: a worker runs its compensations first"}.`
          ),
        control<"Terminate">(
          "Terminate run",
          "terminate",
          `Terminate ${id}? It ends at once, wherever it runs, and nothing that it did is compensated.`,
          () => `${id} has ended as cancelled, without compensations.`
        )
      )
    )
  ]
}
