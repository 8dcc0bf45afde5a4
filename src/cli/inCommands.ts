/** Functions of the library that have a command. */
const commands: Readonly<Record<string, string>> = {
  "Workflow.list": "recovery runs",
  "Workflow.status": "recovery runs RUN",
  "Workflow.release": "recovery release",
  "Workflow.cancel": "recovery cancel",
  "Workflow.terminate": "recovery terminate",
  "Workflow.resolve": "recovery resolve",
  "Workflow.unclaimed": "recovery runs --unclaimed",
  "Signal.sendJson": "recovery signal",
  "RunSchedule.list": "recovery schedules",
  "RecoveryManager.sweep": "recovery cleanup"
}

/** A message of the library in the terms of the command line. */
export const inCommands = (message: string): string =>
  message.replace(/\b[A-Z][A-Za-z]+\.[a-z][A-Za-z]+\b/g, (name) => commands[name] ?? name)
