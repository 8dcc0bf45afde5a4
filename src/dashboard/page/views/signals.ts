import { encodeId } from "../../PathId.js"
import { isTelling, schemaDraft } from "../../schemaDraft.js"
import { h } from "../dom.js"
import { time } from "../format.js"
import type { RunStatus } from "../model.js"
import { button, facts, panel, when } from "../parts.js"

type Waiting = RunStatus["waiting"][number]

/** The schema of a value as the answer, or as a signal. */
export const schemaDetails = (schema: unknown, key: string) =>
  isTelling(schema) &&
  h(
    "details",
    { "data-key": `schema ${key}` },
    h("summary", {}, "JSON Schema of the value"),
    h("pre", {}, JSON.stringify(schema, null, 1))
  )

/** The text of a field as JSON; undefined if it is empty. */
const valueIn = (field: HTMLTextAreaElement): unknown =>
  field.value.trim() === "" ? undefined : (JSON.parse(field.value) as unknown)

const signal = (
  run: string,
  { about, id: wait, schema, since, until }: Waiting,
  { id, name }: { name: string; id?: string | undefined },
  canAct: boolean
) => {
  const key = `${run} ${wait}`
  const draft = schemaDraft(schema) ?? ""
  const value = h("textarea", { name: "value", rows: 3, "data-key": `signal ${key}`, spellcheck: "false" }, draft)
  return panel(
    `Waits for signal ${about}`,
    facts({ Since: when(since), Until: until === null ? undefined : time(until) }),
    schemaDetails(schema, key),
    canAct &&
      h(
        "div",
        { class: "answers" },
        h("label", {}, "Value as JSON", value),
        h(
          "div",
          { class: "buttons" },
          button<"Signal">({
            key: wait,
            label: `Send ${about}`,
            path: `/runs/${encodeId(run)}/signals`,
            payload: () => ({ signal: name, which: id, value: valueIn(value) }),
            done: () => `The signal ${about} is sent to ${run}. A worker or the next execution resumes it.`
          })
        )
      )
  )
}

/** What a run waits for that is no question. One that is to be cancelled reads no signal any more. */
export const signals = ({ cancelling, id, waiting }: RunStatus, canAct: boolean): ReadonlyArray<Node> =>
  cancelling !== null
    ? []
    : waiting.flatMap((wait) => (wait.signal === undefined ? [] : [signal(id, wait, wait.signal, canAct)]))
