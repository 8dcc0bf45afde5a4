/**
 * @since 0.1.0
 */

export * as Bulkhead from "./react/Bulkhead.js"
export * as CircuitBreaker from "./react/CircuitBreaker.js"
export * as Decision from "./react/Decision.js"
export * as Events from "./react/Events.js"
export * as Fault from "./react/Fault.js"
export * as Recovery from "./react/Recovery.js"
export * as RecoveryPolicy from "./react/RecoveryPolicy.js"
export * as RetryBudget from "./react/RetryBudget.js"
export * as RetryPolicy from "./react/RetryPolicy.js"
export * as Strategy from "./react/Strategy.js"
export * as Answer from "./remember/Answer.js"
export * as Checkpoint from "./remember/Checkpoint.js"
export * as Parameters from "./remember/Parameters.js"
export * as Signal from "./remember/Signal.js"
export * as State from "./remember/State.js"
export * as Step from "./remember/Step.js"
export * as Transaction from "./remember/Transaction.js"
export * as Worker from "./remember/Worker.js"
export * as Workflow from "./remember/Workflow.js"
export * as Storage from "./storage/Storage.js"
