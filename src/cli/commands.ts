import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { ask, common } from "./ask.js"
import { adopt, cancel, hold, release, terminate } from "./controlCommands.js"
import { copyCommand } from "./copy/command.js"
import { doctorCommand } from "./doctor/command.js"
import { execCommand } from "./exec/command.js"
import {
  age,
  choice,
  choiceOrFirst,
  flag,
  integer,
  optional,
  pairs,
  readJson,
  readLog,
  text,
  textOr,
  usage,
  userName
} from "./options.js"
import { by, described, id, limit, optionalId } from "./parameters.js"
import { recover, unlessCompleted } from "./recover.js"
import * as views from "./render/views.js"
import { queues, runs, schedules, signal } from "./runCommands.js"

const repository = optional("repository", "Only of this repository")
const run = optional("run-id", "Only of this run")
const note = optional("note", "Why, for the record")
const load = <M>(module: () => Promise<M>) => Effect.promise(module)

const dashboard = Command.make(
  "dashboard",
  {
    ...common,
    repository,
    watch: flag("watch", "Show it as it changes; with --json one line per change"),
    web: flag("web", "Serve it as a page"),
    port: integer("port", "With --web: the port; 0 takes a free one", 4780, { max: 65_535 }),
    host: textOr("host", "With --web: the address to listen on", "127.0.0.1"),
    names: text("allow-host", "With --web: a host name to accept, beside localhost and IP addresses").pipe(
      Options.repeated
    ),
    openReads: flag("open-reads", "With --web: allow reads without the token; actions still need it")
  },
  (given) => {
    if (given.web && given.watch) return usage("dashboard takes --watch or --web, not both.")
    // Both modules are slow to load, and other commands do not need them.
    if (given.web)
      return Effect.flatMap(
        load(() => import("./dashboard/web.js")),
        ({ web }) => web(given, given)
      )
    if (given.watch) {
      return Effect.flatMap(
        load(() => import("./dashboard/watch.js")),
        ({ watch }) => watch(given, given.repository)
      )
    }
    return ask(given, { _tag: "Dashboard", repository: given.repository }, views.dashboard)
  }
).pipe(described("dashboard"))

const status = Command.make(
  "status",
  {
    ...common,
    id: optional("recovery-id", "The recovery to show. Default: list the latest ones"),
    wait: flag("wait", "With --recovery-id: wait until it has ended; exit code 1 unless it has completed"),
    repository,
    run
  },
  ({ id, repository, run, wait, ...given }) => {
    if (id !== undefined && wait) return ask(given, { _tag: "Join", id }, views.recovery, unlessCompleted)
    if (id !== undefined) return ask(given, { _tag: "Recovery", id }, views.recovery)
    if (wait) return usage("status --wait needs --recovery-id.")
    return ask(given, { _tag: "Recoveries", repository, run, limit: 20 }, views.recoveries)
  }
).pipe(described("status"))

/** How a recovery is carried out. */
const how = {
  dryRun: flag("dry-run", "Show what it would do, and change nothing"),
  detach: flag("detach", "Print the id and return; the recovery continues in a process of its own")
}

const initiate = Command.make(
  "initiate",
  {
    ...common,
    failure: text("failure-id", "The failure to recover"),
    type: choiceOrFirst(
      "type",
      ["auto", "retry", "resume", "rollback", "restart"],
      "What to do; auto takes the most promising action"
    ),
    checkpoint: optional("checkpoint-id", "The checkpoint to go back to. Default: the newest valid one"),
    reason: optional("reason", "Why, for the record"),
    ...how
  },
  ({ checkpoint, failure, reason, type, ...given }) =>
    recover(given, { _tag: "Initiate", failure, type, checkpoint, reason })
).pipe(described("initiate"))

const rollback = Command.make(
  "rollback",
  {
    ...common,
    checkpoint: text("checkpoint-id", "The checkpoint to roll back to"),
    reason: textOr("reason", "Why, for the record", "manual_rollback"),
    ...how
  },
  ({ checkpoint, reason, ...given }) => recover(given, { _tag: "Rollback", checkpoint, reason })
).pipe(described("rollback"))

const create = (name: string) =>
  Command.make(
    name,
    {
      ...common,
      repository: text("repository", "Its repository"),
      workflow: text("workflow-name", "Its workflow"),
      run: text("run-id", "Its run"),
      commit: text("commit-sha", "Its commit"),
      kind: choiceOrFirst("checkpoint-type", ["manual", "step", "job", "workflow"], "What it is a checkpoint of"),
      name: text("checkpoint-name", "Its name"),
      state: textOr("state", "The state, as JSON or @FILE", "{}"),
      environment: pairs("environment", "A setting it relies on, as NAME=VALUE"),
      artifacts: text("artifact", "A file it relies on").pipe(Options.repeated),
      dependencies: text("dependency", "A system it relies on").pipe(Options.repeated)
    },
    ({ commit, repository, run, state, workflow, ...given }) =>
      Effect.flatMap(readJson("--state", state), (state) => {
        const { artifacts, dependencies, environment, kind, name } = given
        const labels = { repository, workflow, run, commit }
        return ask(
          given,
          { _tag: "CreateCheckpoint", name, kind, state, labels, environment, artifacts, dependencies },
          views.one(views.checkpoints)
        )
      })
  )

const checkpoint = Command.make("checkpoint").pipe(
  described("checkpoint"),
  Command.withSubcommands([
    create("create").pipe(Command.withDescription("Save a checkpoint")),
    Command.make(
      "list",
      { ...common, repository, run, name: optional("checkpoint-name", "Only with this name"), limit },
      ({ limit, name, repository, run, ...given }) =>
        ask(given, { _tag: "Checkpoints", repository, run, name, limit }, views.checkpoints)
    ).pipe(Command.withDescription("List checkpoints, newest first")),
    Command.make("show", { ...common, id }, ({ id, ...given }) =>
      ask(given, { _tag: "Checkpoint", id }, views.one(views.checkpoints))
    ).pipe(Command.withDescription("Show a checkpoint without its state")),
    Command.make("validate", { ...common, id }, ({ id, ...given }) =>
      ask(given, { _tag: "ValidateCheckpoint", id }, views.validity, ({ is_valid: isValid }) =>
        isValid ? undefined : "The checkpoint is not valid."
      )
    ).pipe(Command.withDescription("Check whether a checkpoint can be used")),
    Command.make("delete", { ...common, id }, ({ id, ...given }) =>
      ask(given, { _tag: "DeleteCheckpoint", id }, views.one(views.checkpoints))
    ).pipe(Command.withDescription("Delete a checkpoint permanently"))
  ])
)

const failures = Command.make(
  "failures",
  {
    ...common,
    id: optionalId,
    repository,
    run,
    status: choice("status", ["open", "resolved"], "Only with this status"),
    limit
  },
  ({ id, limit, repository, run, status, ...given }) =>
    id === undefined
      ? ask(given, { _tag: "Failures", repository, run, status, limit }, views.failures)
      : ask(given, { _tag: "Failure", id }, views.failure)
).pipe(described("failures"))

const report = Command.make(
  "report",
  {
    ...common,
    id: optional("failure-id", "Its id. Default: a new one"),
    message: text("message", "Its message. Default: taken from the log").pipe(Options.withDefault("")),
    logFile: optional("log", "A file with its output, or - for standard input"),
    repository: optional("repository", "Its repository"),
    commit: optional("commit-sha", "Its commit"),
    run: optional("run-id", "The run of a workflow that failed"),
    labels: pairs("label", "A label to keep with it, as NAME=VALUE")
  },
  ({ commit, id, labels, logFile, message, repository, run, ...given }) =>
    Effect.gen(function* () {
      const log = logFile === undefined ? undefined : yield* readLog(logFile)
      if (message === "" && log === undefined) return yield* usage("report needs --message or --log.")
      const all = {
        ...labels,
        ...(repository === undefined ? {} : { repository }),
        ...(commit === undefined ? {} : { commit })
      }
      yield* ask(given, { _tag: "Report", id, run, message, log, labels: all }, views.failure)
    })
).pipe(described("report"))

const suggest = Command.make(
  "suggest",
  { ...common, failure: text("failure-id", "The failure") },
  ({ failure, ...given }) => ask(given, { _tag: "Suggest", failure }, views.suggestions)
).pipe(described("suggest"))

const resolve = Command.make(
  "resolve",
  {
    ...common,
    failure: optional("failure-id", "A failure that was fixed by hand"),
    run: optional("run-id", "A run with an open question"),
    answer: choice("answer", ["retry", "skip", "abort", "value"], "The answer to its question"),
    value: text("value", "With --answer value: the value, as JSON or @FILE").pipe(Options.withDefault("")),
    question: optional("question", "The id of the question, if the run has several"),
    by,
    note
  },
  ({ answer, failure, note, question, run, ...given }) =>
    Effect.gen(function* () {
      const by = given.by || userName()
      if (failure !== undefined) return yield* ask(given, { _tag: "Resolve", failure, by }, views.failure)
      if (run === undefined || answer === undefined) {
        return yield* usage("resolve needs --failure-id, or --run-id and --answer.")
      }
      if (answer === "value" && given.value === "") {
        return yield* usage(
          "resolve --answer value needs --value JSON; recovery runs RUN prints the schema of the value."
        )
      }
      const value = answer === "value" ? yield* readJson("--value", given.value) : undefined
      const request = { _tag: "Answer", run, answer, value, question, by, note } as const
      yield* ask(given, request, () => `The question of ${run} is answered: ${answer}.`)
    })
).pipe(described("resolve"))

const escalations = Command.make(
  "escalations",
  {
    ...common,
    status: choice("status", ["open", "acknowledged", "resolved"], "Only with this status"),
    acknowledge: optional("acknowledge", "The id of an escalation to acknowledge"),
    resolve: optional("resolve", "The id of an escalation to resolve"),
    by,
    note,
    limit
  },
  ({ acknowledge, limit, note, resolve, status, ...given }) => {
    const by = given.by || userName()
    const one = views.one(views.escalations)
    if (acknowledge !== undefined) return ask(given, { _tag: "Acknowledge", escalation: acknowledge, by }, one)
    if (resolve !== undefined) return ask(given, { _tag: "ResolveEscalation", escalation: resolve, by, note }, one)
    return ask(given, { _tag: "Escalations", status, limit }, views.escalations)
  }
).pipe(described("escalations"))

const stats = Command.make(
  "stats",
  {
    ...common,
    since: optional("since", "Only of this period, such as 7 days; reads every record of it"),
    run: optional("run-id", "With --since: only of this run"),
    repository: optional("repository", "With --since: only of this repository")
  },
  ({ repository, run, since, ...given }) =>
    since === undefined
      ? ask(given, { _tag: "Statistics" }, views.statistics)
      : Effect.flatMap(age("--since", since), (millis) =>
          ask(given, { _tag: "Period", millis, run, repository }, views.period)
        )
).pipe(described("stats"))

const health = Command.make("health", common, (given) =>
  ask(given, { _tag: "Health" }, views.health, ({ status }) => (status === "failing" ? "A check fails." : undefined))
).pipe(described("health"))

const patterns = Command.make("patterns", { ...common, repository }, ({ repository, ...given }) =>
  ask(given, { _tag: "Patterns", repository }, views.patterns)
).pipe(described("patterns"))

const tune = Command.make(
  "tune",
  { ...common, step: text("step", "The step, or the name of a recovery") },
  ({ step, ...given }) => ask(given, { _tag: "Tune", step }, views.tuning)
).pipe(described("tune"))

const cleanup = Command.make(
  "cleanup",
  { ...common, age: textOr("older-than", "The least age, such as 30 days", "30 days") },
  (given) =>
    Effect.flatMap(age("--older-than", given.age), (olderThanMillis) =>
      ask(given, { _tag: "Cleanup", olderThanMillis }, views.cleanup)
    )
).pipe(described("cleanup"))

const locks = Command.make("locks", common, (given) => ask(given, { _tag: "Locks" }, views.locks)).pipe(
  described("locks")
)

const check = Command.make("check", common, (given) =>
  ask(given, { _tag: "Check" }, views.check, ({ findings }) =>
    findings.length === 0 ? undefined : `${findings.length} findings: the database is damaged.`
  )
).pipe(described("check"))

/** The commands that have commands of their own. The parser does not tell them from the others. */
export const groups: ReadonlyMap<string, ReturnType<typeof Command.getSubcommands>> = new Map([
  ["checkpoint", Command.getSubcommands(checkpoint)],
  ["schedules", Command.getSubcommands(schedules)]
])

export const recovery = Command.make("recovery").pipe(
  Command.withDescription("Shows failures, recoveries and runs, and acts on them"),
  Command.withSubcommands([
    dashboard,
    status,
    initiate,
    rollback,
    create("create-checkpoint").pipe(described("create-checkpoint")),
    checkpoint,
    runs,
    signal,
    hold,
    release,
    cancel,
    terminate,
    adopt,
    queues,
    schedules,
    failures,
    report,
    suggest,
    resolve,
    escalations,
    stats,
    health,
    patterns,
    tune,
    cleanup,
    check,
    doctorCommand,
    copyCommand,
    locks,
    execCommand
  ])
)
