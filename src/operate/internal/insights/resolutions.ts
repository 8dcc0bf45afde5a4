/** What has usually helped, by the category of a failure; the first is what to try first. */
const table: Readonly<Record<string, ReadonlyArray<string>>> = {
  network: [
    "Retry with a growing delay and jitter: RetryPolicy.exponential({ jitter: 'full' }).",
    "Put a circuit breaker before it, so that an outage is not made longer.",
    "Check DNS, certificates and firewalls between both sides if it does not pass."
  ],
  timeout: [
    "Give the step more time, or less work at once.",
    "Look at the slowest steps in `recovery stats`.",
    "Retry only what is idempotent: it may have happened."
  ],
  "rate-limit": [
    "Wait as long as the other side asks: retryAfter is honoured by every RetryPolicy.",
    "Share a RetryBudget and a Bulkhead between all callers.",
    "Ask for a higher quota, or spread the work."
  ],
  unavailable: [
    "Retry later; open a circuit breaker meanwhile.",
    "Offer a fallback: Strategy.alternate or Strategy.skip."
  ],
  resource: [
    "Free memory, disk or file handles, then run it again.",
    "Bound concurrency with a Bulkhead, or work in smaller batches."
  ],
  permission: ["Check the credentials and their scopes; retrying does not help.", "Rotate what has expired."],
  validation: ["Mend the input at its source; retrying does not help.", "Check what changed in the schema lately."],
  "not-found": ["Check the name and the place; retrying does not help.", "Make what is missing, then run it again."],
  conflict: ["Read again and redo the change on what is there now.", "Take a Lock around it."],
  corruption: ["Restore from the newest valid checkpoint: recovery rollback.", "Check the disk it lay on."],
  dependency: [
    "Pin the version, and install from the lock file.",
    "Clear the cache of the package manager and install again.",
    "Check that the registry can be reached."
  ],
  logic: ["It is a bug: mend the code. The stack is in the log.", "Add a test with the input of the run."],
  cancelled: ["Somebody stopped it: run it again if that was not meant."],
  linting: ["Run the linter with its fixes, and commit them.", "Pin the version of the linter."],
  formatting: ["Run the formatter, and commit what it changed.", "Run it before each commit."],
  testing: [
    "Run the failing test alone, with the same seed.",
    "If it passes at times, it is flaky: mend its waits and its shared state.",
    "Look at what changed since the last run that passed."
  ],
  build: [
    "Build from a clean checkout.",
    "Resume from the newest checkpoint, so that what was built need not be built again.",
    "Check the versions of compilers and base images."
  ],
  deployment: [
    "Roll back to the release before it.",
    "Check the credentials and the quota of the target.",
    "Deploy to one instance first."
  ],
  dns: ["Check the name, and the name server of the host.", "Ask again after some seconds: RetryPolicy.detailed does."],
  certificate: ["Renew the certificate, or install the one of the authority.", "Check the clock of the host."],
  disk: ["Free space on the disk, or write somewhere else.", "Remove old checkpoints and runs: recovery cleanup."],
  memory: ["Work in smaller batches, or with fewer at once.", "Give the process more memory."],
  cpu: ["Run fewer at once: a Bulkhead, or concurrency of the step.", "Give the step more time."],
  quota: ["Wait until the quota is renewed, or ask for a higher one.", "Share a RetryBudget between all callers."],
  authentication: ["Log in again, or renew the token.", "Check that the key belongs to this environment."],
  maintenance: ["Wait for its end, and run it again.", "Offer a fallback meanwhile: Failover, or Strategy.alternate."],
  configuration: [
    "Mend the setting that is named in the message.",
    "Read settings with Config, so that they fail at the start."
  ],
  schema: ["Check which side has changed its schema.", "Write a migration for what is stored already."],
  format: ["Look at the input where the message points.", "Refuse it at the door, with its own error."],
  infrastructure: ["Check the runner: its disk, its memory, its network.", "Run it again on another runner."]
}

const otherwise = ["Read the log from its end.", "Add a rule to Fault.layer, so that the next one has a category."]

/** What a step is part of, by its name, and what helps there; under "" whatever the category. */
const components: ReadonlyArray<readonly [name: RegExp, table: Readonly<Record<string, string>>]> = [
  [
    /\b(?:model|llm|generate|generation|generator|completion|prompt|chat)\b/i,
    {
      timeout: "Ask the model for less at once: fewer tokens, or a shorter context.",
      resource: "Give the model a shorter context, or smaller batches.",
      validation: "Check the parameters of the model against its provider's documentation.",
      permission: "Check the key of the model's provider, and which models it is for.",
      "": "Have another model to fall back on: Failover, with a way for each."
    }
  ],
  [
    /\b(?:retrieve|retrieval|retriever|search|embed|embedding|index|reindex)\b/i,
    {
      timeout: "Retrieve fewer documents.",
      "not-found": "Check that the index is there, and that it was filled.",
      permission: "Check the credentials of the index.",
      "": "Go on without what was to be retrieved: Strategy.skip, with an empty text."
    }
  ],
  [
    /\b(?:validate|validation|validator|criticize|criticism|critic|judge)\b/i,
    {
      timeout: "Give the validator more time, or less to look at.",
      validation: "See whether the validator is too strict: Parameters can loosen it for one attempt.",
      "": "Go on without the validator if it is not essential: Strategy.skip, with what it would have answered."
    }
  ]
]

/** More than that nobody reads. */
const most = 5

const own = <A>(table: Readonly<Record<string, A>>, key: string): A | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

const inWords = (name: string): string => name.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ")

/** Of a category, and of what the step is part of. */
export const resolutionsFor = (category: string, step = ""): ReadonlyArray<string> => {
  const [, component = {}] = components.find(([name]) => name.test(inWords(step))) ?? []
  const special = [own(component, category), own(component, "")].filter((text) => text !== undefined)
  const [first, ...rest] = own(table, category) ?? otherwise
  return [...(first === undefined ? [] : [first]), ...special, ...rest].slice(0, most)
}
