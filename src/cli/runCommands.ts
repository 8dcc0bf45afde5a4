import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { ask, common } from "./ask.js"
import { choice, flag, optional, readJson } from "./options.js"
import { argument, described, limit, optionalArgument, optionalId } from "./parameters.js"
import * as views from "./render/views.js"

export const runs = Command.make(
  "runs",
  {
    ...common,
    id: optionalId,
    workflow: optional("workflow-name", "Only of this workflow"),
    status: choice(
      "status",
      ["running", "held", "suspended", "stopped", "completed", "failed", "exhausted", "cancelled"],
      "Only with this status"
    ),
    limit
  },
  ({ id, limit, status, workflow, ...given }) =>
    id === undefined
      ? ask(given, { _tag: "Runs", workflow, status, limit }, views.runs)
      : ask(given, { _tag: "Run", id }, views.run)
).pipe(described("runs"))

export const signal = Command.make(
  "signal",
  {
    ...common,
    run: argument("run"),
    name: argument("name"),
    value: optionalArgument("json"),
    which: optional("id", "The id of the signal, if several have this name"),
    early: flag("early", "Store the signal also if the run does not wait for it yet")
  },
  ({ early, name, run, value, which, ...given }) =>
    Effect.gen(function* () {
      const json = value === undefined ? undefined : yield* readJson("The value of the signal", value)
      const request = { _tag: "Signal", run, signal: name, which, value: json, early } as const
      yield* ask(
        given,
        request,
        () => `The signal ${name} is sent to ${run}. A worker or the next execution resumes it.`
      )
    })
).pipe(described("signal"))
