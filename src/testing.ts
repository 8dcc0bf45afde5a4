/**
 * @since 0.2.0
 */

export * as Ledger from "./testing/Ledger.js"
export * as Scorecard from "./testing/Scorecard.js"
export * as Testing from "./testing/Testing.js"
