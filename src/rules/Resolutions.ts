/**
 * Canned advice for a person who handles a failure: what usually helps, by the
 * category of the failure and by the kind of step that failed.
 *
 * @since 0.1.0
 */

/** By category, the most promising advice first. */
const table: Readonly<Record<string, ReadonlyArray<string>>> = {
  network: [
    "Retry with a growing delay and jitter: RetryPolicy.exponential({ jitter: 'full' }).",
    "Put a circuit breaker around the call, so that retries do not prolong an outage.",
    "If it persists, check DNS, certificates and firewalls between both sides."
  ],
  timeout: [
    "Give the step a longer timeout, or less work at once.",
    "Look at the slowest steps in `recovery stats`.",
    "Retry only idempotent work: the call may have taken effect."
  ],
  "rate-limit": [
    "Wait as long as the other side asks: every RetryPolicy honours retryAfter.",
    "Share a RetryBudget and a Bulkhead between all callers.",
    "Ask for a higher quota, or spread the work."
  ],
  unavailable: [
    "Retry later; open a circuit breaker meanwhile.",
    "Offer a fallback: Strategy.alternate or Strategy.skip."
  ],
  resource: [
    "Free memory, disk space or file handles, then run it again.",
    "Bound concurrency with a Bulkhead, or work in smaller batches."
  ],
  permission: ["Check the credentials and their scopes; retrying does not help.", "Renew expired credentials."],
  validation: ["Correct the input at its source; retrying does not help.", "Check the latest changes of the schema."],
  "not-found": [
    "Check the name and the path; retrying does not help.",
    "Create the missing resource, then run it again."
  ],
  conflict: ["Read the current state and apply the change to it.", "Guard the change with a Lock."],
  corruption: ["Restore from the newest valid checkpoint: recovery rollback.", "Check the disk that stored it."],
  dependency: [
    "Pin the version, and install from the lock file.",
    "Clear the package manager's cache and install again.",
    "Check that the registry can be reached."
  ],
  logic: ["Fix the bug; the log has the stack trace.", "Add a test with the input of this run."],
  cancelled: ["It was cancelled: run it again if that was not intended."],
  linting: ["Run the linter with automatic fixes, and commit them.", "Pin the version of the linter."],
  formatting: ["Run the formatter, and commit its changes.", "Run it before each commit."],
  testing: [
    "Run the failing test alone, with the same seed.",
    "If it passes sometimes, it is flaky: fix its waits and its shared state.",
    "Review the changes since the last passing run."
  ],
  build: [
    "Build from a clean checkout.",
    "Resume from the newest checkpoint, so that finished parts are not built again.",
    "Check the versions of compilers and base images."
  ],
  deployment: [
    "Roll back to the previous release.",
    "Check the credentials and the quota of the target.",
    "Deploy to one instance first."
  ],
  dns: ["Check the name, and the name server of the host.", "Retry after some seconds, as RetryPolicy.detailed does."],
  certificate: ["Renew the certificate, or install that of the authority.", "Check the clock of the host."],
  disk: ["Free disk space, or write to another disk.", "Remove old checkpoints and runs: recovery cleanup."],
  memory: ["Work in smaller batches, or with less concurrency.", "Give the process more memory."],
  cpu: ["Reduce concurrency: use a Bulkhead, or lower the concurrency of the step.", "Give the step a longer timeout."],
  quota: ["Wait until the quota resets, or ask for a higher one.", "Share a RetryBudget between all callers."],
  authentication: ["Log in again, or renew the token.", "Check that the key belongs to this environment."],
  maintenance: [
    "Wait until the maintenance ends, then run it again.",
    "Offer a fallback meanwhile: Failover, or Strategy.alternate."
  ],
  configuration: [
    "Correct the setting that the message names.",
    "Read settings with Config, so that a wrong one fails at the start."
  ],
  schema: ["Check which side changed its schema.", "Write a migration for stored data."],
  format: [
    "Inspect the input at the position in the message.",
    "Validate the input before use, with an error of its own."
  ],
  infrastructure: ["Check the runner's disk, memory and network.", "Run it again on another runner."]
}

const otherwise = ["Read the end of the log.", "Add a rule to Fault.layer, so that such failures get a category."]

/** Advice for kinds of steps, matched by the name of the step. The key "" is for every category. */
const components: ReadonlyArray<readonly [name: RegExp, table: Readonly<Record<string, string>>]> = [
  [
    /\b(?:model|llm|generate|generation|generator|completion|prompt|chat)\b/i,
    {
      timeout: "Ask the model for less at once: fewer tokens, or a shorter context.",
      resource: "Give the model a shorter context, or smaller batches.",
      validation: "Check the model's parameters against its provider's documentation.",
      permission: "Check the API key of the provider, and which models it allows.",
      "": "Fall back to another model: Failover, with one way per model."
    }
  ],
  [
    /\b(?:retrieve|retrieval|retriever|search|embed|embedding|index|reindex)\b/i,
    {
      timeout: "Retrieve fewer documents.",
      "not-found": "Check that the index exists and is filled.",
      permission: "Check the credentials of the index.",
      "": "Continue without the documents: Strategy.skip, with an empty text."
    }
  ],
  [
    /\b(?:validate|validation|validator|criticize|criticism|critic|judge)\b/i,
    {
      timeout: "Give the validator more time, or shorter input.",
      validation: "Check whether the validator is too strict: Parameters can relax it for one attempt.",
      "": "Continue without the validator if it is not essential: Strategy.skip, with its default result."
    }
  ]
]

const maxResolutions = 5

const own = <A>(table: Readonly<Record<string, A>>, key: string): A | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

const wordsOf = (name: string): string => name.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ")

/**
 * At most five pieces of advice for a failure, the most promising first: by its
 * category, and by whether the name of the step says that a model, a retriever
 * or a validator failed. Give it to `Operator.define` or
 * `Insights.layerResolutions`.
 *
 * @example
 * ```ts
 * import { Resolutions } from "effect-recovery/rules"
 *
 * console.log(Resolutions.canned("timeout", "generate summary")[1])
 * // Ask the model for less at once: fewer tokens, or a shorter context.
 * ```
 *
 * @since 0.1.0
 * @category rules
 */
export const canned = (category: string, step = ""): ReadonlyArray<string> => {
  const [, component = {}] = components.find(([name]) => name.test(wordsOf(step))) ?? []
  const special = [own(component, category), own(component, "")].filter((text) => text !== undefined)
  const [first, ...rest] = own(table, category) ?? otherwise
  return [...(first === undefined ? [] : [first]), ...special, ...rest].slice(0, maxResolutions)
}
