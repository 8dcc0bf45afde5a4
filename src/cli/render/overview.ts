import { exits } from "../exit.js"
import { bold, type Screen } from "./terminal.js"

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
  checkpoint: "Create, list, show, validate or delete checkpoints",
  "create-checkpoint": "The same as checkpoint create",
  escalations: "List escalations; acknowledge or resolve one",
  stats: "Show health, trend, success rates, frequent errors and slow steps",
  health: "Check storage, runs, questions, recoveries, failures, escalations and locks",
  patterns: "Group open failures with similar messages, with advice",
  tune: "Propose a retry policy for a step from its retries so far",
  check: "Verify a whole database: checksums, missing lines, indexes, what cannot be decoded",
  locks: "List the locks in the storage with their holders",
  cleanup: "Remove ended runs, old checkpoints, resolved failures and unused locks"
} as const

const everyCommand = {
  "--help": "Show the options of a command",
  "--json": "Print JSON, for scripts",
  "--config FILE": "Use this file instead of the nearest recovery.config.ts, .mts, .js or .mjs",
  "--database FILE": "Use a SQLite file, without a configuration. Default: $RECOVERY_DATABASE",
  "--read-only": "Change nothing, for a copy of a database"
}

const lines = (entries: ReadonlyArray<readonly [string, string]>): string => {
  const width = Math.max(...entries.map(([name]) => name.length))
  return entries.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`).join("\n")
}

/** All commands, common options and exit codes. */
export const overview = (screen: Screen): string => {
  const section = (title: string, entries: ReadonlyArray<readonly [string, string]>) =>
    `${bold(screen, title)}\n${lines(entries)}`
  return [
    `${bold(screen, "recovery")} COMMAND [options]`,
    section("Commands", Object.entries(about)),
    section("Options of every command", Object.entries(everyCommand)),
    section(
      "Exit codes",
      Object.values(exits).map(([code, text]) => [String(code), text])
    ),
    "recovery --completions bash|zsh|fish prints completions for a shell."
  ].join("\n\n")
}
