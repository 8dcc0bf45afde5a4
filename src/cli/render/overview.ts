import { exits } from "../exits.js"
import { bold, type Screen } from "./screen.js"
import { wrap } from "./width.js"

/** What each command does: the text of its own help and of the overview. */
export const about = {
  dashboard: "Show the state of recoveries and the latest of them: once, live, or as a page",
  status: "Show a recovery step by step, or list the latest ones",
  failures: "List failures on record, or show one of them",
  suggest: "Suggest what to do about a failure, the most promising action first",
  initiate: "Recover a failure: resume its run, rewind it to a checkpoint, or restart it",
  rollback: "Roll a run back to a checkpoint and stop it there",
  resolve: "Close a failure, or answer the question of a run",
  report: "Record a failure, classified by its message and its log",
  exec: "Run a command with retries, a lock, and files that are restored if it fails",
  runs: "List runs of workflows, or show one run with its steps",
  signal: "Send a signal, as JSON, to a run that waits for it",
  hold: "Put a run on hold: no worker takes it, until it is released",
  release: "Release a run that is on hold",
  cancel: "Cancel a run: its compensations run, and it ends as cancelled",
  terminate: "End a run at once, without compensations",
  adopt: "Move the open runs of a version of a workflow to the version of the configuration",
  queues: "List the queues of runs: how many run and wait, and for how long",
  schedules: "List schedules; pause, resume or trigger one",
  checkpoint: "Create, list, show, validate or delete checkpoints",
  "create-checkpoint": "The same as checkpoint create",
  escalations: "List escalations; acknowledge or resolve one",
  stats: "Show health, trend, success rates, frequent errors and slow steps",
  health: "Check storage, runs, questions, recoveries, failures, escalations and locks",
  patterns: "Group open failures with similar messages, with advice",
  tune: "Propose a retry policy for a step from its retries so far",
  check: "Verify a whole database: checksums, missing lines, indexes, what cannot be decoded",
  copy: "Copy everything from one storage to another, such as a SQLite file to Postgres",
  doctor: "Check Node, drivers, configuration, permissions, tables, clock and space, with what to do",
  locks: "List the locks in the storage with their holders",
  cleanup: "Remove ended runs, old checkpoints, resolved failures and unused locks"
} as const

const everyCommand = {
  "--help": "Show the options of a command",
  "--json": "Print JSON, for scripts",
  "--config FILE": "Use this file instead of the project's recovery.config.ts, .mts, .js or .mjs",
  "--database FILE": "Use a SQLite file or a postgres:// address, without a configuration. Default: $RECOVERY_DATABASE",
  "--read-only": "Change nothing, for a copy of a database",
  "--verbose": "Name the configuration or database on the standard error"
}

/** Below this many columns a text stands under its name. */
const minTextWidth = 24

const gap = 2

/** A line for each entry; its text is wrapped into the columns that are left. */
const lines = (screen: Screen, entries: ReadonlyArray<readonly [string, string]>): string => {
  const indent = Math.max(...entries.map(([name]) => name.length)) + 2 * gap
  const room = screen.width === undefined ? undefined : screen.width - indent
  const isBelow = room !== undefined && room < minTextWidth
  return entries
    .flatMap(([name, text]) => {
      const [first = "", ...more] = wrap(text, isBelow ? Math.max(1, (screen.width ?? 0) - 2 * gap) : room)
      const margin = " ".repeat(isBelow ? 2 * gap : indent)
      const head = `${" ".repeat(gap)}${name}`
      return [
        isBelow ? `${head}\n${margin}${first}` : head.padEnd(indent) + first,
        ...more.map((line) => margin + line)
      ]
    })
    .join("\n")
}

export const section = (screen: Screen, title: string, entries: ReadonlyArray<readonly [string, string]>): string =>
  `${bold(screen, title)}\n${lines(screen, entries)}`

/** All commands, common options and exit codes. */
export const overview = (screen: Screen): string => {
  return [
    `${bold(screen, "recovery")} COMMAND [options]`,
    section(screen, "Commands", Object.entries(about)),
    section(screen, "Options of every command", Object.entries(everyCommand)),
    section(
      screen,
      "Exit codes",
      Object.values(exits).map(([code, text]) => [String(code), text])
    ),
    wrap("recovery --completions bash|zsh|fish prints completions for a shell.", screen.width).join("\n")
  ].join("\n\n")
}
