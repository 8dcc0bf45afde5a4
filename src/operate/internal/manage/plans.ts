/** What `RecoveryManager.initiate` can do by itself. */
export type RecoveryType = "retry" | "resume" | "rollback" | "restart"

const plans: Readonly<Record<RecoveryType, ReadonlyArray<string>>> = {
  retry: [
    "analyze_failure_cause",
    "check_retry_limits",
    "apply_failure_specific_fixes",
    "trigger_workflow_retry",
    "monitor_retry_execution",
    "validate_success"
  ],
  resume: [
    "identify_resumption_point",
    "validate_checkpoint_state",
    "restore_environment_context",
    "resolve_dependencies",
    "resume_from_checkpoint",
    "monitor_execution",
    "validate_completion"
  ],
  rollback: [
    "identify_rollback_target",
    "validate_rollback_checkpoint",
    "backup_current_state",
    "execute_rollback_operations",
    "restore_environment",
    "validate_rollback_success"
  ],
  restart: [
    "analyze_failure_cause",
    "backup_current_state",
    "restart_workflow",
    "monitor_execution",
    "validate_completion"
  ]
}

/** What a category asks for beside the plan. */
const extras: Readonly<Record<string, string>> = {
  linting: "apply_linting_fixes",
  testing: "analyze_test_failures",
  build: "check_build_dependencies"
}

export const extraOf = (category: string): string | undefined =>
  Object.hasOwn(extras, category) ? extras[category] : undefined

/** The steps of a recovery, with what the category asks for third from the end. */
export const planOf = (type: RecoveryType, category: string): ReadonlyArray<string> => {
  const extra = extraOf(category)
  const plan = plans[type]
  return extra === undefined ? plan : [...plan.slice(0, -2), extra, ...plan.slice(-2)]
}
