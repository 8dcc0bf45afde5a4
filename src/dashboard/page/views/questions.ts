import { encodeId } from "../../PathId.js"
import { h } from "../dom.js"
import { time } from "../format.js"
import type { Overview, Question } from "../model.js"
import { button, empty, facts, linkTo, panel, when } from "../parts.js"
import { schemaDetails } from "./signals.js"

/** The text of a field; undefined if it is empty. */
const textOf = (field: HTMLInputElement | HTMLTextAreaElement): string | undefined => field.value.trim() || undefined

const answers = ({ id, run, schema }: Question) => {
  const key = `${run} ${id}`
  const note = h("input", { type: "text", name: "note", "data-key": `note ${key}`, maxlength: 1_000 })
  const value = h("textarea", { name: "value", rows: 2, "data-key": `value ${key}`, spellcheck: "false" })
  const answer = (
    label: string,
    kind: string,
    more: () => Readonly<Record<string, unknown>> = () => ({}),
    ask?: string
  ) =>
    button({
      key: id,
      label,
      path: `/runs/${encodeId(run)}/answers`,
      payload: () => ({ answer: kind, question: id, note: textOf(note), ...more() }),
      done: () => `Answer for ${run}: ${label.toLowerCase()}. A worker or the next execution resumes the run.`,
      ask
    })
  return h(
    "div",
    { class: "answers" },
    h("label", {}, "Note for the record", note),
    h(
      "div",
      { class: "buttons" },
      answer("Retry", "retry"),
      answer("Skip", "skip"),
      answer("Abort", "abort", undefined, `Abort ${run}? The run fails.`)
    ),
    h(
      "details",
      { "data-key": `details ${key}` },
      h("summary", {}, "Answer with a value"),
      schemaDetails(schema, key),
      h("label", {}, "As JSON", value),
      answer("Answer", "value", () => ({ value: JSON.parse(value.value) as unknown }))
    )
  )
}

export const question = (one: Question, canAct: boolean): Node =>
  panel(
    one.about,
    facts({
      Run: linkTo("runs", one.run),
      Workflow: one.workflow,
      To: one.to,
      Failure: one.fault === null ? undefined : `${one.fault.category}: ${one.fault.message}`,
      Parameters: one.parameters.join(", "),
      "Refused answer": one.refused,
      Asked: when(one.since),
      Until: one.until === null ? undefined : time(one.until)
    }),
    canAct && answers(one)
  )

export const questions = ({ questions }: Overview, canAct: boolean): ReadonlyArray<Node> =>
  questions.length === 0 ? [empty("No open questions.")] : questions.map((one) => question(one, canAct))
