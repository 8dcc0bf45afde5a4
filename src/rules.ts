/**
 * @since 0.1.0
 */

export * as DetailedRules from "./rules/DetailedRules.js"
export * as PipelineRules from "./rules/PipelineRules.js"
export * as Resolutions from "./rules/Resolutions.js"
