/**
 * @since 0.1.0
 */

export * as Escalation from "./operate/Escalation.js"
export * as EscalationRecord from "./operate/EscalationRecord.js"
export * as FailureRecord from "./operate/FailureRecord.js"
export * as HealthCheck from "./operate/HealthCheck.js"
export * as Insights from "./operate/Insights.js"
export * as OperateError from "./operate/OperateError.js"
export * as Operator from "./operate/Operator.js"
export * as Overview from "./operate/Overview.js"
export * as Production from "./operate/Production.js"
export * as RecoveryLog from "./operate/RecoveryLog.js"
export * as RecoveryManager from "./operate/RecoveryManager.js"
export * as RecoveryPlan from "./operate/RecoveryPlan.js"
export * as RecoveryRecord from "./operate/RecoveryRecord.js"
export * as StorageCheck from "./operate/StorageCheck.js"
export * as Timeline from "./operate/Timeline.js"
export * as Webhook from "./operate/Webhook.js"
