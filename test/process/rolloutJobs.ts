/** The workflows of a program in two releases, and what its steps note. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Signal, Step, Workflow } from "effect-recovery"

export const Paid = Signal.make("paid", Schema.Number)

/** One line for each attempt of a step: its run and its name. Few bytes at the end of a file are not torn. */
const note = (folder: string, line: string): void => fs.appendFileSync(`${folder}/notes`, `${line}\n`)

export const readNotes = (folder: string): ReadonlyArray<string> =>
  fs.existsSync(`${folder}/notes`) ? fs.readFileSync(`${folder}/notes`, "utf8").trim().split("\n") : []

const stepIn = (folder: string) => (name: string) =>
  Step.make(name, {
    run: (_: undefined, { run }) =>
      Effect.zipRight(
        Effect.sync(() => note(folder, `${run} ${name}`)),
        Effect.sleep("20 millis")
      )
  })(undefined)

/** The first release. */
export const before = (folder: string) => {
  const step = stepIn(folder)
  return {
    Parcel: Workflow.make("parcel", { version: "1", success: Schema.String }, () =>
      Effect.as(Effect.all([step("pack"), step("send")]), "by version 1")
    ),
    Order: Workflow.make("order", { version: "1", success: Schema.String }, () =>
      Effect.as(Effect.all([step("reserve"), Paid.wait(), step("ship")]), "by version 1")
    )
  }
}

/** The second one. Its orders have the steps of the first one, and one more, so open ones can be adopted. Parcels cannot. */
export const after = (folder: string) => {
  const step = stepIn(folder)
  return {
    Parcel: Workflow.make("parcel", { version: "2", success: Schema.String }, () =>
      Effect.as(Effect.all([step("weigh"), step("pack"), step("send")]), "by version 2")
    ),
    Order: Workflow.make("order", { version: "2", success: Schema.String }, () =>
      Effect.as(Effect.all([step("reserve"), Paid.wait(), step("ship"), step("thank")]), "by version 2")
    )
  }
}
