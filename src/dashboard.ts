/**
 * @since 0.1.0
 */

export * as Dashboard from "./dashboard/Dashboard.js"
export * as DashboardApi from "./dashboard/DashboardApi.js"
export * as DashboardError from "./dashboard/DashboardError.js"
