/** What is seen: a little colour on a terminal or with FORCE_COLOR, plain text when piped or with NO_COLOR. */
import type { Report } from "./report.js"

const { FORCE_COLOR, NO_COLOR } = process.env
const colourful = NO_COLOR === undefined && (process.stdout.isTTY === true || FORCE_COLOR !== undefined)

const paint = (code: number) => (text: string) => (colourful ? `\u001b[${code}m${text}\u001b[0m` : text)

export const bold = paint(1)
export const dim = paint(2)
export const red = paint(31)
export const green = paint(32)
export const yellow = paint(33)
export const cyan = paint(36)

const startedAt = Date.now()

export const say = (text = ""): void => {
  process.stdout.write(`${text}\n`)
}

/** A line with its time since the beginning. */
export const note = (text: string): void => {
  say(`${dim(`${((Date.now() - startedAt) / 1000).toFixed(1).padStart(5)}s`)}  ${text}`)
}

export const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

const name = (report: Report): string => (report.step ?? "").padEnd(17)

/** The line for an event, or nothing where the next one says more. */
export const describe = (report: Report): string | undefined => {
  const attempt = `attempt ${report.attempt}`
  switch (report.event) {
    case "RunStarted":
      return "the run begins"
    case "RunResumed":
      return cyan(`the run continues: ${report.answered} steps are in its journal`)
    case "StepCompleted":
      return `${green("done    ")}${name(report)}${dim(attempt)}`
    case "StepAnswered":
      return `${cyan("journal ")}${name(report)}${dim("not run again")}`
    case "StepAmbiguous":
      return `${yellow("unclear ")}${name(report)}${attempt} was cut short; it runs again`
    case "BackoffResumed":
      return `${cyan("waiting ")}${name(report)}${attempt} stays due in ${seconds(report.delay ?? 0)}`
    case "Decided":
      return `${yellow("fault   ")}${name(report)}#${report.attempt} ${report.category}, ${brief(report.message)}${again(report)}`
    case "StepFailed":
      return `${red("failed  ")}${name(report)}${attempt}: ${report.category}, ${brief(report.message)}`
    case "RunFinished":
      return bold(`the run is ${report.message}`)
    case "RunStopped":
      return red(`the run stopped: ${report.message}`)
    default:
      return undefined
  }
}

const again = (report: Report): string =>
  report.decision === "Again" ? `; again in ${seconds(report.delay ?? 0)}` : ` (${report.decision})`

/** What fits on a line: the first clause, without what every attempt begins with. */
const brief = (message = ""): string => message.replace(/[;.].*/s, "").replace("The attempt was ", "")

/** Columns as wide as their widest cell. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)))
  rows.forEach((row, i) => {
    const line = row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")
    say(`  ${i === 0 ? bold(line) : line}`.trimEnd())
  })
}
