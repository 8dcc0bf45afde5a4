/**
 * @since 0.1.0
 */

export * as RecoveryEngine from "./cluster/RecoveryEngine.js"
