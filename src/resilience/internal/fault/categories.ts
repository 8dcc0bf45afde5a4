import type { Category, Severity } from "../../Fault.js"

export interface Profile {
  readonly severity: Severity
  readonly transient: boolean
}

/** What a category means when a rule says nothing more. */
const profiles: Readonly<Record<string, Profile>> = {
  network: { severity: "medium", transient: true },
  timeout: { severity: "medium", transient: true },
  "rate-limit": { severity: "low", transient: true },
  unavailable: { severity: "medium", transient: true },
  resource: { severity: "high", transient: true },
  permission: { severity: "high", transient: false },
  validation: { severity: "medium", transient: false },
  "not-found": { severity: "medium", transient: false },
  conflict: { severity: "low", transient: true },
  corruption: { severity: "critical", transient: false },
  dependency: { severity: "high", transient: false },
  logic: { severity: "high", transient: false },
  cancelled: { severity: "low", transient: false },
  unknown: { severity: "medium", transient: false }
}

const otherProfile: Profile = { severity: "medium", transient: false }

export const profileOf = (category: Category): Profile =>
  (Object.hasOwn(profiles, category) ? profiles[category] : undefined) ?? otherProfile

const severityOrder: Readonly<Record<Severity, number>> = { low: 0, medium: 1, high: 2, critical: 3 }

export const isSeverity = (value: unknown): value is Severity =>
  typeof value === "string" && Object.hasOwn(severityOrder, value)

/** The worse of two; the first if they are equal. */
export const severer = (a: Severity, b: Severity): Severity => (severityOrder[b] > severityOrder[a] ? b : a)
