import { bold, type Screen } from "./table.js"

const commands: ReadonlyArray<readonly [name: string, about: string]> = [
  ["dashboard", "how recoveries stand, and the latest of them"],
  ["dashboard --watch", "the same, live"],
  ["dashboard --web", "the same, as a page"],
  ["status", "how a recovery stands, step by step"],
  ["failures", "failures on record, or one of them"],
  ["suggest", "what could be done about a failure"],
  ["initiate", "recover a failure"],
  ["rollback", "take a run back to a checkpoint"],
  ["resolve", "close a failure, or answer the question of a run"],
  ["report", "put a failure on record"],
  ["exec -- COMMAND", "run a command with retries, a lock, and files that return"],
  ["runs", "runs of workflows, or one run with its steps"],
  ["checkpoint", "create, list, show, validate, delete"],
  ["create-checkpoint", "the same as checkpoint create"],
  ["escalations", "what somebody should look at; acknowledge and resolve it"],
  ["stats", "health, trend, success rates, slow steps"],
  ["health", "whether something needs somebody"],
  ["patterns", "what open failures have in common, and what has usually helped"],
  ["tune", "which retry policy would suit a step"],
  ["locks", "locks in the storage, and who holds them"],
  ["cleanup", "remove what is old and has ended"]
]

const exits: ReadonlyArray<readonly [code: string, about: string]> = [
  ["0", "done"],
  ["1", "tried, and failed"],
  ["2", "the command line is wrong"],
  ["3", "nothing has this id"],
  ["4", "refused as things stand; nothing was changed"],
  ["5", "the storage is in trouble"],
  ["6", "the configuration cannot be used"],
  ["70", "a bug"]
]

const lines = (entries: ReadonlyArray<readonly [string, string]>): string => {
  const width = Math.max(...entries.map(([name]) => name.length))
  return entries.map(([name, about]) => `  ${name.padEnd(width)}  ${about}`).join("\n")
}

/** What there is, at a glance. */
export const overview = (screen: Screen): string =>
  [
    `${bold(screen, "recovery")} COMMAND [options]`,
    `${bold(screen, "Commands")}\n${lines(commands)}`,
    `${bold(screen, "Every command")}\n${lines([
      ["--help", "its options"],
      ["--json", "print JSON, for scripts"],
      ["--config FILE", "instead of the nearest recovery.config.ts, .mts, .js or .mjs"],
      ["--database FILE", "a SQLite file, without a configuration; else $RECOVERY_DATABASE"],
      ["--read-only", "change nothing: for a copy of a database"]
    ])}`,
    `${bold(screen, "Exit codes")}\n${lines(exits)}`,
    "recovery --completions bash|zsh|fish prints completions for a shell."
  ].join("\n\n")
