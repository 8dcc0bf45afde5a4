import { Data, Effect } from "effect"
import { Fault } from "effect-recovery"

// An error class says what it is.
class QuotaUsedUp extends Data.TaggedError("QuotaUsedUp")<{ readonly tenant: string }> {
  readonly [Fault.declared] = Fault.declare({ category: "rate-limit", retryAfter: "1 hour" })
}

// Rules say it for errors that are not yours; the first that matches counts, and yours come first.
const rules = Fault.layer(
  Fault.code("E_LEDGER_*", { category: "conflict" }),
  Fault.status(418, { category: "validation", severity: "low" }),
  Fault.message(/\bcold start\b/i, { category: "unavailable" })
)

const failures = [
  new QuotaUsedUp({ tenant: "acme" }),
  Object.assign(new Error("write rejected"), { code: "E_LEDGER_BUSY" }),
  // What counts is the code behind the wrapper, not its text.
  new TypeError("fetch failed", { cause: Object.assign(new Error("connect"), { code: "ECONNREFUSED" }) }),
  { status: 429, headers: { "retry-after": "30" } },
  "who knows"
]

export const program = Effect.forEach(failures, Fault.classify).pipe(
  Effect.map((faults) => faults.map(({ category, transient }) => `${category}${transient ? ", may pass" : ""}`)),
  Effect.provide(rules)
)
