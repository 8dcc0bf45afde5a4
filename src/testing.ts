/**
 * @since 0.1.0
 */

export * as Ledger from "./testing/Ledger.js"
export * as Scorecard from "./testing/Scorecard.js"
export * as Testing from "./testing/Testing.js"
