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
  infrastructure: ["Check the runner: its disk, its memory, its network.", "Run it again on another runner."]
}

const otherwise = ["Read the log from its end.", "Add a rule to Fault.layer, so that the next one has a category."]

export const resolutionsFor = (category: string): ReadonlyArray<string> =>
  (Object.hasOwn(table, category) ? table[category] : undefined) ?? otherwise
