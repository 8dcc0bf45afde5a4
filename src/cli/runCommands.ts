import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { ask, common } from "./ask.js"
import { choice, flag, moment, optional, optionalInteger, pairs, readJson, userName } from "./options.js"
import { argument, by, described, limit, optionalArgument, optionalId } from "./parameters.js"
import * as views from "./render/runs.js"
import { commandOn } from "./render/shell.js"

export const runs = Command.make(
  "runs",
  {
    ...common,
    id: optionalId,
    workflow: optional("workflow-name", "Only of this workflow"),
    version: optional("workflow-version", "Only of this version of it"),
    status: choice(
      "status",
      ["running", "held", "suspended", "stopped", "completed", "failed", "exhausted", "cancelled"],
      "Only with this status"
    ),
    labels: pairs("label", "Only with this label, as NAME=VALUE; several must all fit"),
    queue: optional("queue", "Only of this queue"),
    parent: optional("parent", "Only runs that this run waits for"),
    since: optional("since", "Only created since then: a time such as 2026-11-29, or an age such as 2h"),
    until: optional("until", "Only created before then: a time or an age"),
    unclaimed: flag("unclaimed", "The versions whose due runs no worker takes, in place of runs"),
    before: optionalInteger("before", "The next page: the number that the page before ends with"),
    limit
  },
  ({ before, id, labels, limit, parent, queue, since, status, unclaimed, until, version, workflow, ...given }) =>
    Effect.gen(function* () {
      if (unclaimed) return yield* ask(given, { _tag: "Unclaimed" }, views.unclaimed)
      if (id !== undefined) return yield* ask(given, { _tag: "Run", id }, views.run)
      const created = { since: yield* moment("--since", since), until: yield* moment("--until", until) }
      const query = { workflow, version, status, labels, queue, parent, ...created, before, limit }
      yield* ask(given, { _tag: "Runs", ...query }, views.runsPage(limit))
    })
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

export const queues = Command.make("queues", common, (given) => ask(given, { _tag: "Queues" }, views.queues)).pipe(
  described("queues")
)

const schedule = argument("schedule")

export const schedules = Command.make("schedules", common, (given) =>
  ask(given, { _tag: "Schedules" }, views.schedules)
).pipe(
  described("schedules"),
  Command.withSubcommands([
    Command.make("list", common, (given) => ask(given, { _tag: "Schedules" }, views.schedules)).pipe(
      Command.withDescription("List schedules with their next due times")
    ),
    Command.make(
      "pause",
      { ...common, schedule, reason: optional("reason", "Why, for the record"), by },
      ({ reason, schedule, ...given }) =>
        ask(
          given,
          { _tag: "PauseSchedule", schedule, reason, by: given.by || userName() },
          (screen) =>
            `The schedule ${schedule} is paused. It starts no runs until: ${commandOn(screen, "schedules resume", [schedule])}`
        )
    ).pipe(Command.withDescription("Let a schedule start no runs until it is resumed")),
    Command.make("resume", { ...common, schedule }, ({ schedule, ...given }) =>
      ask(given, { _tag: "ResumeSchedule", schedule }, () => `The schedule ${schedule} starts runs again.`)
    ).pipe(Command.withDescription("End a pause. Due times of the pause start no runs")),
    Command.make("trigger", { ...common, schedule }, ({ schedule, ...given }) =>
      ask(
        given,
        { _tag: "TriggerSchedule", schedule },
        (_, { run }) => `The run ${run} starts as soon as a worker has the schedule.`
      )
    ).pipe(Command.withDescription("Start a run of a schedule now"))
  ])
)
