import * as fs from "node:fs"
import * as os from "node:os"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ask, common, unlessCompleted } from "./ask.js"
import { execCommand } from "./exec/command.js"
import { Ended, exitCodes } from "./exit.js"
import { readLog } from "./readLog.js"
import * as views from "./render/views.js"

const maybe = <A>(option: Option.Option<A>): A | undefined => Option.getOrUndefined(option)

const text = (name: string, description: string) => Options.text(name).pipe(Options.withDescription(description))
const optional = (name: string, description: string) => Options.optional(text(name, description))
const repository = optional("repository", "Only of this repository")
const limit = Options.integer("limit").pipe(Options.withDescription("How many at most"), Options.withDefault(50))
const load = <M>(module: () => Promise<M>) => Effect.promise(module)
const usage = (message: string) => new Ended({ code: exitCodes.Usage, tag: "Usage", message })

/** In a container the user may have no name. */
const me = (): string => {
  try {
    return os.userInfo().username
  } catch {
    return process.env.USER ?? "somebody"
  }
}

const dashboard = Command.make(
  "dashboard",
  {
    ...common,
    repository,
    watch: Options.boolean("watch").pipe(
      Options.withDescription("Show it as it changes; with --json a line each time")
    ),
    web: Options.boolean("web").pipe(Options.withDescription("Serve it as a page")),
    port: Options.integer("port").pipe(
      Options.withDescription("With --web: where to listen; 0 takes a port that is free"),
      Options.withDefault(4780)
    ),
    host: text("host", "With --web: on which address to listen").pipe(Options.withDefault("127.0.0.1")),
    names: text("allow-host", "With --web: a name it may be reached by, beside localhost and numbers").pipe(
      Options.repeated
    ),
    openReads: Options.boolean("open-reads").pipe(
      Options.withDescription("With --web: whoever reaches it may read; acting takes the token still")
    )
  },
  (given) => {
    if (given.web && given.watch) return usage("dashboard takes --watch or --web, not both.")
    // Most commands need neither, and each takes its time to load.
    if (given.web)
      return Effect.flatMap(
        load(() => import("./dashboard/web.js")),
        ({ web }) => web(given, given)
      )
    if (given.watch) {
      return Effect.flatMap(
        load(() => import("./dashboard/watch.js")),
        ({ watch }) => watch(given, maybe(given.repository))
      )
    }
    return ask(given, { _tag: "Dashboard", repository: maybe(given.repository) }, views.dashboard)
  }
).pipe(Command.withDescription("How recoveries stand, and the latest of them: once, live, or as a page"))

const status = Command.make(
  "status",
  { ...common, recovery: optional("recovery-id", "Which recovery; without it the latest ones are listed"), repository },
  (given) => {
    const id = maybe(given.recovery)
    return id === undefined
      ? ask(given, { _tag: "Recoveries", repository: maybe(given.repository), limit: 20 }, views.recoveries)
      : ask(given, { _tag: "Recovery", id }, views.recovery)
  }
).pipe(Command.withDescription("How a recovery stands, step by step"))

const initiate = Command.make(
  "initiate",
  {
    ...common,
    failure: text("failure-id", "Which failure to recover"),
    type: Options.choice("type", ["auto", "retry", "resume", "rollback", "restart"] as const).pipe(
      Options.withDescription("What to do; auto is what is most promising"),
      Options.withDefault("auto" as const)
    ),
    reason: optional("reason", "Why, for the record")
  },
  (given) =>
    ask(
      given,
      { _tag: "Initiate", failure: given.failure, type: given.type, reason: maybe(given.reason) },
      views.recovery,
      unlessCompleted
    )
).pipe(Command.withDescription("Recover a failure: run its workflow on, go back to a checkpoint, or restart it"))

const rollback = Command.make(
  "rollback",
  {
    ...common,
    checkpoint: text("checkpoint-id", "Which checkpoint to go back to"),
    reason: text("reason", "Why, for the record").pipe(Options.withDefault("manual_rollback"))
  },
  (given) =>
    ask(
      given,
      { _tag: "Rollback", checkpoint: given.checkpoint, reason: given.reason },
      views.recovery,
      unlessCompleted
    )
).pipe(Command.withDescription("Take a run back to a checkpoint, and leave it there"))

const fields = {
  ...common,
  repository: text("repository", "Whose it is"),
  workflow: text("workflow-name", "Of which workflow"),
  run: text("run-id", "Of which run"),
  commit: text("commit-sha", "Of which commit"),
  kind: Options.choice("checkpoint-type", ["step", "job", "workflow", "manual"] as const).pipe(
    Options.withDescription("What it is a checkpoint of"),
    Options.withDefault("manual" as const)
  ),
  name: text("checkpoint-name", "What it is called"),
  state: text("state", "The state, as JSON, or @FILE").pipe(Options.withDefault("{}")),
  environment: Options.keyValueMap("environment").pipe(
    Options.withDescription("What it relies on, as NAME=VALUE"),
    Options.optional
  ),
  artifacts: text("artifact", "A file it relies on").pipe(Options.repeated),
  dependencies: text("dependency", "A system it relies on").pipe(Options.repeated)
}

const readJson = (option: string, given: string) =>
  Effect.try({
    try: (): unknown => JSON.parse(given.startsWith("@") ? fs.readFileSync(given.slice(1), "utf8") : given),
    catch: (cause) => usage(`${option} must be JSON: ${cause instanceof Error ? cause.message : String(cause)}`)
  })

const create = (name: string) =>
  Command.make(name, fields, (given) =>
    Effect.flatMap(readJson("--state", given.state), (state) =>
      ask(
        given,
        {
          _tag: "CreateCheckpoint",
          name: given.name,
          kind: given.kind,
          state,
          labels: {
            repository: given.repository,
            workflow: given.workflow,
            run: given.run,
            commit: given.commit
          },
          environment: Object.fromEntries(Option.getOrElse(given.environment, () => [])),
          artifacts: given.artifacts,
          dependencies: given.dependencies
        },
        (screen, value) => views.checkpoints(screen, [value])
      )
    )
  ).pipe(Command.withDescription("Save a checkpoint"))

const id = Args.text({ name: "id" })

const checkpoint = Command.make("checkpoint").pipe(
  Command.withDescription("Checkpoints: create, list, show, validate, delete"),
  Command.withSubcommands([
    create("create"),
    Command.make(
      "list",
      {
        ...common,
        repository,
        run: optional("run-id", "Only of this run"),
        name: optional("checkpoint-name", "Only those of this name"),
        limit
      },
      (given) =>
        ask(
          given,
          {
            _tag: "Checkpoints",
            repository: maybe(given.repository),
            run: maybe(given.run),
            name: maybe(given.name),
            limit: given.limit
          },
          views.checkpoints
        )
    ).pipe(Command.withDescription("The newest first")),
    Command.make("show", { ...common, id }, (given) =>
      ask(given, { _tag: "Checkpoint", id: given.id }, (screen, value) => views.checkpoints(screen, [value]))
    ).pipe(Command.withDescription("What is known of a checkpoint")),
    Command.make("validate", { ...common, id }, (given) =>
      ask(given, { _tag: "ValidateCheckpoint", id: given.id }, views.validity, (value) =>
        views.at(value, "is_valid") === true ? undefined : "The checkpoint is not valid."
      )
    ).pipe(Command.withDescription("Whether a checkpoint may be used")),
    Command.make("delete", { ...common, id }, (given) =>
      ask(given, { _tag: "DeleteCheckpoint", id: given.id }, (screen, value) => views.checkpoints(screen, [value]))
    ).pipe(Command.withDescription("Remove a checkpoint for good"))
  ])
)

const runs = Command.make(
  "runs",
  {
    ...common,
    id: Args.optional(id),
    workflow: optional("workflow-name", "Only of this workflow"),
    status: Options.choice("status", ["running", "suspended", "stopped", "completed", "failed"] as const).pipe(
      Options.withDescription("Only those that stand so"),
      Options.optional
    ),
    limit
  },
  (given) => {
    const one = maybe(given.id)
    return one === undefined
      ? ask(
          given,
          { _tag: "Runs", workflow: maybe(given.workflow), status: maybe(given.status), limit: given.limit },
          views.runs
        )
      : ask(given, { _tag: "Run", id: one }, views.run)
  }
).pipe(Command.withDescription("Runs of workflows, or one run with its steps"))

const failures = Command.make(
  "failures",
  {
    ...common,
    id: Args.optional(id),
    repository,
    run: optional("run-id", "Only of this run"),
    status: Options.choice("status", ["open", "resolved"] as const).pipe(
      Options.withDescription("Only those that stand so"),
      Options.optional
    ),
    limit
  },
  (given) => {
    const one = maybe(given.id)
    if (one !== undefined) return ask(given, { _tag: "Failure", id: one }, views.failure)
    const query = { repository: maybe(given.repository), run: maybe(given.run), status: maybe(given.status) }
    return ask(given, { _tag: "Failures", ...query, limit: given.limit }, views.failures)
  }
).pipe(Command.withDescription("Failures on record, or one of them"))

const report = Command.make(
  "report",
  {
    ...common,
    failure: optional("failure-id", "Its id; made up, if it is left out"),
    message: text("message", "What it says; without it the log is searched for it").pipe(Options.withDefault("")),
    log: optional("log", "A file with what was printed, or - for standard input"),
    repository: optional("repository", "Whose it is"),
    commit: optional("commit-sha", "Of which commit"),
    run: optional("run-id", "Of which run of a workflow"),
    labels: Options.keyValueMap("label").pipe(
      Options.withDescription("Whatever else to find it by, as NAME=VALUE"),
      Options.optional
    )
  },
  (given) =>
    Effect.gen(function* () {
      const log = yield* readLog(maybe(given.log))
      if (given.message === "" && log === undefined) return yield* usage("report needs --message or --log.")
      const labels = {
        ...Object.fromEntries(Option.getOrElse(given.labels, () => [])),
        ...Option.match(given.repository, { onNone: () => ({}), onSome: (repository) => ({ repository }) }),
        ...Option.match(given.commit, { onNone: () => ({}), onSome: (commit) => ({ commit }) })
      }
      const { message } = given
      const about = { id: maybe(given.failure), run: maybe(given.run) }
      yield* ask(given, { _tag: "Report", ...about, message, log, labels }, views.failure)
    })
).pipe(Command.withDescription("Put a failure on record, classified from its message and its log"))

const suggest = Command.make("suggest", { ...common, failure: text("failure-id", "Which failure") }, (given) =>
  ask(given, { _tag: "Suggest", failure: given.failure }, views.suggestions)
).pipe(Command.withDescription("What could be done about a failure, the most promising first"))

const resolve = Command.make(
  "resolve",
  {
    ...common,
    failure: optional("failure-id", "A failure that was mended by hand"),
    run: optional("run-id", "A run that asks something"),
    answer: Options.choice("answer", ["retry", "skip", "abort", "value"] as const).pipe(
      Options.withDescription("The answer to its question"),
      Options.optional
    ),
    value: optional("value", "With --answer value: the value, as JSON, or @FILE"),
    question: optional("question", "Which question, if there are several"),
    by: optional("by", "Who answers; the user, if it is left out"),
    note: optional("note", "Why, for the record")
  },
  (given) =>
    Effect.gen(function* () {
      const by = maybe(given.by) ?? me()
      const [failure, run, answer] = [maybe(given.failure), maybe(given.run), maybe(given.answer)]
      if (failure !== undefined) return yield* ask(given, { _tag: "Resolve", failure, by }, views.failure)
      if (run === undefined || answer === undefined) {
        return yield* usage("resolve needs --failure-id, or --run-id and --answer.")
      }
      const value = answer === "value" ? yield* readJson("--value", maybe(given.value) ?? "") : undefined
      const more = { value, question: maybe(given.question), note: maybe(given.note) }
      yield* ask(given, { _tag: "Answer", run, answer, by, ...more }, () => `${run} was told: ${answer}`)
    })
).pipe(Command.withDescription("Close a failure, or answer the question of a run"))

const one = (view: typeof views.escalations) => (screen: Parameters<typeof view>[0], value: unknown) =>
  view(screen, [value])

const escalations = Command.make(
  "escalations",
  {
    ...common,
    status: Options.choice("status", ["open", "acknowledged", "resolved"] as const).pipe(
      Options.withDescription("Only those that stand so"),
      Options.optional
    ),
    acknowledge: optional("acknowledge", "The id of one that somebody looks at"),
    resolve: optional("resolve", "The id of one that is dealt with"),
    by: optional("by", "Who; the user, if it is left out"),
    note: optional("note", "Why, for the record"),
    limit
  },
  (given) => {
    const by = maybe(given.by) ?? me()
    const [acknowledged, resolved] = [maybe(given.acknowledge), maybe(given.resolve)]
    if (acknowledged !== undefined) {
      return ask(given, { _tag: "Acknowledge", escalation: acknowledged, by }, one(views.escalations))
    }
    if (resolved !== undefined) {
      const request = { _tag: "ResolveEscalation", escalation: resolved, by, note: maybe(given.note) } as const
      return ask(given, request, one(views.escalations))
    }
    return ask(given, { _tag: "Escalations", status: maybe(given.status), limit: given.limit }, views.escalations)
  }
).pipe(Command.withDescription("What somebody should look at; acknowledge and resolve it"))

/** An age in milliseconds; more than nothing. */
const ageOf = (option: string, given: string) =>
  Effect.flatMap(Effect.option(Effect.try(() => Duration.decode(given as Duration.DurationInput))), (age) =>
    Option.isSome(age) && Duration.toMillis(age.value) > 0
      ? Effect.succeed(Duration.toMillis(age.value))
      : Effect.fail(usage(`${option} must be a duration such as "30 days", not "${given}".`))
  )

const stats = Command.make(
  "stats",
  {
    ...common,
    since: optional("since", "Only of the last while, such as 7 days: reads each record"),
    run: optional("run-id", "With --since: only of this run"),
    repository
  },
  (given) => {
    const since = maybe(given.since)
    if (since === undefined) return ask(given, { _tag: "Statistics" }, views.statistics)
    const query = { run: maybe(given.run), repository: maybe(given.repository) }
    return Effect.flatMap(ageOf("--since", since), (millis) =>
      ask(given, { _tag: "Period", millis, ...query }, views.period)
    )
  }
).pipe(Command.withDescription("Health, trend, success rates, frequent errors, slow steps"))

const health = Command.make("health", common, (given) =>
  ask(given, { _tag: "Health" }, views.health, (value) =>
    views.at(value, "status") === "failing" ? "Something does not work." : undefined
  )
).pipe(Command.withDescription("Whether something needs somebody: storage, runs, questions, success, locks"))

const patterns = Command.make("patterns", { ...common, repository }, (given) =>
  ask(given, { _tag: "Patterns", repository: maybe(given.repository) }, views.patterns)
).pipe(Command.withDescription("What open failures have in common, and what has usually helped"))

const tune = Command.make("tune", { ...common, step: text("step", "Which step, or recovery by its name") }, (given) =>
  ask(given, { _tag: "Tune", step: given.step }, views.tuning)
).pipe(Command.withDescription("What the retries of a step came to, and which policy would suit it"))

const cleanup = Command.make(
  "cleanup",
  { ...common, age: text("older-than", "Such as 30 days").pipe(Options.withDefault("30 days")) },
  (given) =>
    Effect.flatMap(ageOf("--older-than", given.age), (olderThanMillis) =>
      ask(given, { _tag: "Cleanup", olderThanMillis }, views.cleanup)
    )
).pipe(Command.withDescription("Remove ended runs, old checkpoints, resolved failures and unused locks"))

const locks = Command.make("locks", common, (given) => ask(given, { _tag: "Locks" }, views.locks)).pipe(
  Command.withDescription("Locks in the storage, and who holds them")
)

export const recovery = Command.make("recovery").pipe(
  Command.withDescription("Failures and recoveries: look at them, and do something about them"),
  Command.withSubcommands([
    dashboard,
    status,
    initiate,
    rollback,
    create("create-checkpoint"),
    checkpoint,
    runs,
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
    locks,
    execCommand
  ])
)
